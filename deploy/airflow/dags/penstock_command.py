"""Calls the command `penstock` and says why it failed. Needs neither Airflow nor Penstock.

Penstock lives in an environment of its own and is only called, so that neither side's libraries
bind the other's. Settings, all by environment:

* `PENSTOCK_BIN`: the command; `penstock` on `PATH` unless set.
* `PENSTOCK_PROJECT`: the folder of the program and its `penstock.toml`; the working folder.
* `PENSTOCK_PROGRAM`: the program in it; `users.py`.
* `PENSTOCK_PATIENCE`: seconds that a command waits until it gives up; 600. A run's `patience`
  goes first.
* `PENSTOCK_RUN=elsewhere`: a `penstock run --no-sources` is always at work on the pipeline. Then
  records are waited for, not moved.

What else is set (`PENSTOCK_PROFILE`, `USERS_API`, `POSTGRES_PASSWORD`, …) is passed on, except what
belongs to Airflow.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from threading import Timer
from time import monotonic, sleep
from typing import IO, Any
from urllib.parse import unquote, urlsplit

Answer = Mapping[str, Any]
"""What a command printed with `--json`."""

GRACE = 120.0
"""Seconds beyond its patience that a command has to start and to end; then it is killed, which is
safe, too."""

_PAUSE = 1.0
_WRONG_USE = 2
_AIRFLOWS = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV")
_SECRET = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY", "PRIVATE_KEY")
_SHORTEST = 4  # hiding shorter ones would only make logs unreadable


class PenstockFailed(Exception):
    """A command failed. Its message is the reason.

    Args:
        message: Which command, and why.
        final: Whether trying again is of no use: the program or a setting is wrong.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True)
class Project:
    """Which command is called, where, and for how long."""

    command: tuple[str, ...]
    folder: Path
    program: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Project:
        """Read the settings of this module's head."""
        return cls(
            tuple(shlex.split(env.get("PENSTOCK_BIN", "penstock"))),
            Path(env.get("PENSTOCK_PROJECT", ".")),
            env.get("PENSTOCK_PROGRAM", "users.py"),
        )


def patience(env: Mapping[str, str]) -> float:
    """The seconds of `PENSTOCK_PATIENCE`."""
    return float(env.get("PENSTOCK_PATIENCE", "600"))


class Penstock:
    """Calls commands, one at a time.

    Args:
        env: The settings, and what the commands get as their environment.
        tell: Called with each line that a command writes to stderr.
        patience: Seconds that a command waits until it gives up.
    """

    def __init__(
        self, env: Mapping[str, str], tell: Callable[[str], object], patience: float
    ) -> None:
        self._env = env
        self._tell = tell
        self._patience = patience
        self._secrets = sorted(secrets(env), key=len, reverse=True)
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    @property
    def limit(self) -> tuple[str, str]:
        """The option that makes a command give up in time."""
        return "--for", f"{self._patience}s"

    def call(self, verb: str, *options: str) -> Answer:
        """Run `penstock VERB PROGRAM OPTIONS --json` to its end and give its answer.

        Args:
            verb: Such as `ingest`.
            options: Such as `--run-id`, `a`.

        Raises:
            PenstockFailed: It could not be started, failed, or was not done in time.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8") as answers:
            process = self._started(verb, options, answers)
            with process:
                last = self._followed(process)
            answers.seek(0)
            answer = _parsed(answers)
        if process.returncode == 0 and not self._stopped:
            return answer
        why = "; ".join(reasons(answer)) or last or f"it ended with code {process.returncode}"
        if self._stopped:
            why = f"stopped: {why}"
        elif process.returncode == -SIGKILL:
            why = f"killed, or hung for {self._patience + GRACE:.0f} s: {why}"
        message = self._hidden(f"penstock {verb}: {why}")
        raise PenstockFailed(message, final=process.returncode == _WRONG_USE)

    def _started(
        self, verb: str, options: Sequence[str], answers: IO[str]
    ) -> subprocess.Popen[str]:
        if self._stopped:
            raise PenstockFailed(f"penstock {verb}: stopped before it began")
        project = Project.from_environment(self._env)
        try:
            self._process = subprocess.Popen(
                [*project.command, verb, project.program, *options, "--json"],
                cwd=project.folder,
                env=theirs(self._env),
                stdin=subprocess.DEVNULL,
                stdout=answers,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
            )
        except OSError as error:
            look = "look at PENSTOCK_BIN and PENSTOCK_PROJECT"
            raise PenstockFailed(f"penstock {verb}: {error}; {look}", final=True) from None
        if self._stopped:  # asked for while it was being started
            self._process.terminate()
        return self._process

    def caught_up(self) -> Answer:
        """Wait until every lane has taken all that its log holds; for a run that is elsewhere.

        Raises:
            PenstockFailed: The ledger does not balance, or a lane is not there in time.
        """
        deadline = monotonic() + self._patience
        while True:
            answer = self.call("reconcile")
            behind = [f"{lane['lane']} by {lane['lag']}" for lane in answer["lanes"] if lane["lag"]]
            if not behind:
                return answer
            if monotonic() > deadline:
                why = f"still behind after {self._patience:.0f} s: {', '.join(behind)}"
                raise PenstockFailed(f"{why}; is `penstock run` at work? see `penstock status`")
            sleep(_PAUSE)

    def stop(self) -> None:
        """Let the command finish its micro-batch and end; from a signal's handler, too."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _followed(self, process: subprocess.Popen[str]) -> str:
        """Pass on what it says until it ends; gives the last line."""
        hung = Timer(self._patience + GRACE, process.kill)
        last = ""
        try:
            hung.start()
            for line in process.stderr or ():
                if line.strip():
                    last = self._hidden(said(line))
                    self._tell(last)
            process.wait()
        except BaseException:  # a time-out of Airflow's: the block around this waits for its end
            process.terminate()
            raise
        finally:
            hung.cancel()
        return last


def said(line: str) -> str:
    """A line of stderr for people: the event of a log line, or the line."""
    try:
        event = json.loads(line)
        return f"{event['level']}: {event['event']}"
    except (ValueError, TypeError, KeyError):
        return line.strip()


def reasons(answer: Answer) -> Iterator[str]:
    """Why a command's answer is no good."""
    if error := answer.get("error"):
        place = f"{error['file']}:{error['line']}: " if error.get("file") else ""
        yield f"{place}{error['message']}"
    for source in answer.get("sources", ()):
        if source["state"] != "finished" and source["reason"]:
            yield f"source of {source['landing']} is {source['state']}: {source['reason']}"
    for lane in answer.get("lanes", ()):
        if lane.get("reason"):
            yield f"{lane['lane']} is {lane['state']}: {lane['reason']}"
    yield from map(str, answer.get("differences", ()))
    if answer.get("balanced") is False and not answer.get("differences"):
        yield "the ledger does not balance: `penstock reconcile` names the differences"


def theirs(env: Mapping[str, str]) -> dict[str, str]:
    """The variables without those of Airflow: its secrets and its Python are its own."""
    return {name: value for name, value in env.items() if not name.startswith(_AIRFLOWS)}


def secrets(env: Mapping[str, str]) -> set[str]:
    """What no log may show: variables that are named as secrets, and passwords in URLs."""
    found = {env[name] for name in env if any(word in name.upper() for word in _SECRET)}
    passwords = {_password(value) for value in env.values() if "://" in value}
    found |= passwords | {unquote(password) for password in passwords}
    return {secret for secret in found if len(secret) >= _SHORTEST}


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _parsed(file: IO[str]) -> Answer:
    try:
        answer = json.load(file)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
