"""The life of one server: up, down, status; what is particular to a kind is its `Recipe`."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from penstock import interfaces
from penstock.errors import Refused, Unavailable
from penstock.services import ports
from penstock.services.daemon import Daemon, Launch
from penstock.services.exclusive import exclusive, explained
from penstock.services.log_file import tail
from penstock.services.settings import Settings

STOP = 30.0
"""Seconds that a server gets to stop by itself."""

_LEAST_ROOM = 1 << 20
_CAUSE = re.compile(r"\b(?:ERROR|FATAL|SEVERE)\b|Exception\b|\w+Error\b|^Error\b|Caused by:")
_CAUSES = 4


Condition = Literal["running", "not answering", "stopped", "died", "elsewhere"]


@dataclass(frozen=True)
class State:
    """What there is of a server.

    Args:
        name: The server's name.
        state: Whether it runs and answers; runs and does not; was stopped; is gone though nobody
            stopped it; or whether one that was started elsewhere answers at its port.
        url: Where it listens, or would, as a profile names it.
        pid: Its process.
        data: Its folder.
        log: Its log file.
        more: What only this kind of server has.
    """

    name: str
    state: Condition
    url: str
    pid: int | None
    data: Path
    log: Path
    more: Mapping[str, Any] = field(default_factory=dict)


class Service(interfaces.Service, Protocol):
    """What `penstock services` needs of a server. Usable from any thread and process."""

    log: Path

    def up(self, stopping: threading.Event | None = None) -> str:
        """Start it; give up and stop it once `stopping` is set."""

    def status(self) -> State:
        """Look at it, starting and changing nothing."""


class Recipe(Protocol):
    """One kind of server: what to run, and how to tell that it is ready. A new kind is one class.

    Called under the lock of the server's folder, except `ready` and `url`.
    """

    name: str

    @property
    def url(self) -> str:
        """Where it listens, as a profile names it."""

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports that it binds, by the setting that changes each."""

    def prepare(self) -> Launch:
        """Write its configuration and, the first time, its data folder; say how to run it.

        Raises `Refused` or `Unavailable` when a program or a disk is missing.
        """

    def ready(self) -> bool:
        """Ask by its own protocol whether it serves; False when it does not, within seconds."""


class Server:
    """A server that runs from `up` to `down`, whatever becomes of the command that started it.

    Methods may be called from any thread and process; starts and stops wait for each other.

    Args:
        recipe: What kind of server.
        settings: Its folder and how long a start may take.
        log: Its log file, unless that is to be in its folder.
    """

    def __init__(self, recipe: Recipe, settings: Settings, log: Path | None = None) -> None:
        self.name = recipe.name
        self.daemon = Daemon(settings.data, log)
        self.log = self.daemon.log
        self._recipe = recipe
        self._home = settings.data
        self._timeout = settings.timeout

    def up(self, stopping: threading.Event | None = None) -> str:
        """Start it, unless it runs, and wait until it answers. One at its port will do.

        Args:
            stopping: Set by the caller to give up; a server that is not ready is stopped then.

        Returns:
            Its URL.

        Raises:
            Refused: It cannot run here; the message has the end of its log and what to do.
            Unavailable: It was killed or does not answer in time, or the disk is full.
        """
        begin = 0
        with exclusive(self._home, f"{self.name} in {self._home}", self._timeout + STOP):
            if not self.daemon.lives():
                if self._recipe.ready():
                    return self._recipe.url
                for setting, port in self._recipe.ports.items():
                    ports.require_free(port, f"{setting} under [services.{self.name}]")
                begin = self.daemon.start(self._recipe.prepare())
            self._wait(begin, stopping or threading.Event())
        return self._recipe.url

    def down(self) -> None:
        """Stop it; its data stays. Nothing happens if it does not run, or not from this folder.

        Raises:
            Refused: It cannot be stopped from here.
        """
        if self._home.exists():
            with exclusive(self._home, f"{self.name} in {self._home}", self._timeout + STOP):
                self.daemon.stop(STOP)

    def status(self) -> State:
        """Look at it, starting and changing nothing."""
        with explained(self._home):
            found = self.daemon.process()
            condition = self._condition()
        pid = found.pid if found else None
        return State(self.name, condition, self._recipe.url, pid, self._home, self.log)

    def _condition(self) -> Condition:
        ready = self._recipe.ready()
        if self.daemon.lives():
            return "running" if ready else "not answering"
        if ready:
            return "elsewhere"
        return "died" if self.daemon.died() else "stopped"

    def _wait(self, begin: int, stopping: threading.Event) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._recipe.ready():
            if not self.daemon.lives():
                raise self._end_of_start(begin)
            if stopping.wait(0.1):
                self.daemon.stop(STOP)
                raise Unavailable(f"{self.name} was stopped before it was ready")
            if time.monotonic() > deadline:
                self.daemon.stop(STOP)
                raise self._too_late(begin)
        if not self.daemon.lives():  # what answers is another one, which was faster
            raise self._end_of_start(begin)

    def _end_of_start(self, begin: int) -> Refused | Unavailable:
        """Say why a server that was started is gone: killed, or by a decision of its own."""
        fact = f"{self.name} died while it started"
        words = tail(self.log, lines=4000, start=begin)
        full = shutil.disk_usage(self._home).free < _LEAST_ROOM
        if full or "No space left on device" in words:
            return Unavailable(f"{fact}: the disk that holds {self._home} is full; make room")
        ending = f"Its log {self.log} ends with:\n{tail(self.log, start=begin)}"
        if why := _why(words):
            return Refused(f"{fact}:\n{why}\n{_remedy(self.name, words, self._home)}. {ending}")
        return Unavailable(
            f"{fact}: something killed it (the system does, when memory is short); try again. "
            f"{ending}"
        )

    def _too_late(self, begin: int) -> Unavailable:
        why = _why(tail(self.log, lines=4000, start=begin))
        said = f"The first errors in its log:\n{why}\n" if why else ""
        return Unavailable(
            f"{self.name} did not answer within {self._timeout:.0f} s and was stopped; if the "
            f"machine is slow, set timeout under [services.{self.name}]. {said}"
            f"Its log {self.log} ends with:\n{tail(self.log, start=begin)}"
        )


def _why(words: str) -> str:
    causes = [line for line in words.splitlines() if _CAUSE.search(line)]
    return "\n".join(causes[:_CAUSES])


def _remedy(name: str, words: str, home: Path) -> str:
    if re.search(r"Address already in use|BindException", words):
        return f"Something took its port meanwhile; stop that, or set port under [services.{name}]"
    if re.search(
        r"OutOfMemoryError|Could not reserve enough space|insufficient memory|maximum heap", words
    ):
        return f"Give it another amount of memory: set memory under [services.{name}]"
    return (
        f"Mend that; if its data is damaged, restore {home} from a backup, "
        "or move it away to begin anew"
    )
