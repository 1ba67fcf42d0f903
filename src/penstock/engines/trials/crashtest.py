"""Kills a user's own pipeline again and again, then proves that every sink is as it should be.

Each round has a ground of its own: a fresh folder, and namespaces of its own in the systems of the
profile (see `ground`). Blows fall on child processes that run the program: SIGKILL at a named point
or a random moment, SIGKILL of a server, SIGSTOP while a successor takes over, connections cut;
between two runs the program's maps seem changed. When the program has nothing left to do, or the
blows are used up, the round is judged (see `verdict`).
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from penstock import profile as profiles
from penstock.engines.trials import children, ground, verdict, victims
from penstock.engines.trials.blows import CUT, MOMENT, POINT, STOPPED, Blow, schedule
from penstock.errors import Unavailable
from penstock.profile import Profile
from penstock.services import table
from penstock.services.spark import Spark

_PATIENCE = 90.0
_ON_SPARK = 240.0
_BEGUN = " is running"


@dataclass
class Result:
    """What came of it.

    Args:
        blows: How many fell.
        missed: How many found nothing to hit: the program had ended before.
        rounds: How many folders were used up.
        differences: What is wrong; empty when every sink is as it should be.
        command: Repeats the run up to the failure.
    """

    blows: int = 0
    missed: int = 0
    rounds: int = 0
    differences: list[str] = field(default_factory=list)
    command: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled or changed."""
        return not self.differences


@dataclass(frozen=True)
class Trial:
    """What is tested, and how.

    Args:
        programs: The program, and perhaps a second version of it.
        kills: How many blows.
        seed: Which schedule.
        profile: Which systems; the program gets namespaces of its own there.
        without: A guarantee to switch off; the test must then fail.
        records: Synthetic records for each topic that others would write.
        data: Where `penstock services` keeps its servers; those that the profile uses get killed.
        said: Told what happens, a line at a time.
    """

    programs: Sequence[Path]
    kills: int = 20
    seed: int = 1
    profile: str = profiles.EMBEDDED
    without: str | None = None
    records: int = 20_000
    data: Path = Path(".penstock")
    said: Callable[[str], None] = lambda line: None

    def command(self, kills: int) -> str:
        """Return the command that repeats the first so many blows."""
        parts = ["penstock", "crashtest", str(self.programs[0])]
        parts += ["--kills", str(kills), "--seed", str(self.seed)]
        if self.profile != profiles.EMBEDDED:
            parts += ["--profile", self.profile]
        if len(self.programs) > 1:
            parts += ["--changed", str(self.programs[1])]
        if self.without:
            parts += ["--without", self.without]
        return " ".join(parts)


def run(trial: Trial) -> Result:
    """Run a trial to its end or to the first round that fails.

    Raises:
        ProfileError: There is no such profile, or it is wrong.
        Refused: A system does not let us have a namespace of our own.
        Unavailable: A system cannot be reached.
    """
    result = Result()
    profile = profiles.load(name=trial.profile)
    services = table.several(_servers(profile), profiles.services_settings(), trial.data)
    servers = victims.among(services, profile)
    names = [victims.EMBEDDED] if ground.uses_embedded(profile) else []
    names += [server.name for server in [*servers, *victims.executors(profile, [])]]
    blows = schedule(trial.seed, trial.kills, len(trial.programs), names, trial.without)
    while blows and result.passed:
        namespace = f"crash_{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory(
            prefix="penstock-crash-", ignore_cleanup_errors=True
        ) as folder:
            log = Path(folder) / "run.log"
            spark = victims.executors(profile, [Path(folder).resolve(), trial.data.resolve()])
            with ground.laid(profile, Path(folder), namespace, [*servers, *spark]) as laid:
                _Round(trial, result, laid, log).run(blows)
        result.rounds += 1
    if not result.passed:
        result.command = trial.command(result.blows + result.missed)
    return result


def _servers(profile: Profile) -> Sequence[str]:
    standalone = (profile.engine or "").startswith("spark:")
    return [*table.STACK, Spark.name] if standalone else table.STACK


class _Round:
    def __init__(self, trial: Trial, result: Result, laid: ground.Ground, log: Path) -> None:
        self._on_spark = laid.profile.on_spark
        self._patience = _ON_SPARK if self._on_spark else _PATIENCE
        self._trial = trial
        self._result = result
        self._ground = laid
        self._log = log
        self._codes: set[int] = set()

    def run(self, blows: list[Blow]) -> None:
        """Use up blows until the program has nothing left to do, then judge."""
        seed = self._trial.seed + self._result.rounds
        verdict.fill_topics(self._ground, self._trial.programs[0], self._trial.records, seed)
        latest = 0
        while blows and self._result.passed:
            blow = self._suited(blows.pop(0))
            latest = blow.program
            if not self._fell(blow):
                self._result.missed += 1
                break
            self._result.blows += 1
            self._trial.said(f"{self._result.blows}: {blow}")
        self._ground.revive()
        self._judge(latest)

    def _suited(self, blow: Blow) -> Blow:
        """On Spark a micro-batch takes longer, and so there are fewer."""
        if not self._on_spark:
            return blow
        return replace(blow, batch=10 * blow.batch, delay=4 * blow.delay)

    def _judge(self, program: int) -> None:
        if self._result.passed:
            self._trial.said(f"round {self._result.rounds + 1}: finishing calmly, comparing")
            self._result.differences += verdict.judge(
                self._ground, self._trial.programs[program], changed=len(self._trial.programs) > 1
            )

    def _fell(self, blow: Blow) -> bool:
        """Let a blow fall; False when the run ended by itself before."""
        # A run that is only starting, or has ended, says that a server is away and ends.
        self._codes = {0, -signal.SIGKILL}
        if blow.kind in (CUT, *self._ground.victims):
            self._codes.add(Unavailable.exit_code)
        fall = {POINT: self._point, MOMENT: self._moment, STOPPED: self._stopped, CUT: self._cut}
        return fall.get(blow.kind, self._server)(blow)

    def _point(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:KILL:{blow.nth}") as child:
            return self._ended(child) == -signal.SIGKILL

    def _moment(self, blow: Blow) -> bool:
        with self._child(blow) as child:
            if self._ended_before(child, blow.delay):
                return False
            child.kill()
            return True

    def _server(self, blow: Blow) -> bool:
        with self._child(blow) as child:
            if self._ended_before(child, blow.delay):
                return False
            victim = self._ground.victims[blow.kind]
            victim.kill()
            ended = self._ended_within(child, blow.delay)
            victim.revive()
            if not ended and not self._ended_within(child, blow.delay + 1):
                self._terminate(child)
            return True

    def _stopped(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:STOP:{blow.nth}") as child:
            if not self._wait_stopped(child):
                return False
            with self._child(blow, "--take-over") as successor:
                self._ended_before(successor, blow.delay + 1)
                child.send_signal(signal.SIGCONT)
                self._ended_within(successor, blow.delay)
                self._terminate(child, fenced=True)
                self._terminate(successor)
            return True

    def _cut(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:STOP:{blow.nth}") as child:
            if not self._wait_stopped(child):
                return False
            self._ground.cut()
            child.send_signal(signal.SIGCONT)
            if not self._ended_within(child, blow.delay + 1):
                self._terminate(child)
            return True

    def _child(
        self, blow: Blow, *options: str, fault: str | None = None
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run the program in a child process; it is gone at the end of the block."""
        environment = {
            **self._ground.environment,
            "PENSTOCK_PROFILE": self._trial.profile,
            "PENSTOCK_BATCH_RECORDS": str(blow.batch),
            "PENSTOCK_VARIANT": str(blow.variant),
            "PENSTOCK_DISABLE": self._trial.without or "",
            "PENSTOCK_FAULT": fault or "",
        }
        program = self._trial.programs[blow.program]
        self._said = self._log.stat().st_size if self._log.exists() else 0
        return children.running(program, environment, self._log, *options)

    def _ended(self, child: subprocess.Popen[bytes]) -> int | None:
        try:
            code = child.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._wrong(f"the run did not end within {self._patience:.0f} s")
            return None
        if code not in self._codes:
            self._wrong(f"the run ended with code {code}")
        return code

    def _ended_before(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether a run ends by itself within so long; Spark's start is not counted."""
        deadline = time.monotonic() + (self._patience if self._on_spark else 0)
        while time.monotonic() < deadline and child.poll() is None and not self._begun():
            time.sleep(0.1)
        return self._ended_within(child, seconds)

    def _begun(self) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._said)
            return _BEGUN.encode() in log.read()

    def _ended_within(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code not in self._codes:
            self._wrong(f"the run ended with code {code}")
        return True

    def _terminate(self, child: subprocess.Popen[bytes], *, fenced: bool = False) -> None:
        """Ask a run to end; it must, and in order unless it was fenced."""
        if child.poll() is None:
            child.terminate()
        try:
            code = child.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._wrong(f"the run did not stop within {self._patience:.0f} s of a SIGTERM")
            return
        # A run that listens to no signal yet, or no more, is ended by it at once.
        if not fenced and code not in {*self._codes, -signal.SIGTERM}:
            self._wrong(f"the run ended with code {code}")

    def _wait_stopped(self, child: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if child.poll() is not None:
                return False
            if psutil.Process(child.pid).status() == psutil.STATUS_STOPPED:
                return True
            time.sleep(0.02)
        self._wrong(f"the run neither stopped nor ended within {self._patience:.0f} s")
        return False

    def _wrong(self, words: str) -> None:
        tail = children.last_words(self._log)
        self._result.differences.append(f"{words}; its last words:\n{tail}")
