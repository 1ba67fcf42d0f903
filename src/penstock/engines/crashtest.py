"""Kills a user's own pipeline again and again, then proves that every sink is as it should be.

Each round is a fresh folder with a PostgreSQL of its own. Blows fall on child processes that run
the program: SIGKILL at a named point or a random moment, SIGKILL of PostgreSQL, SIGSTOP while a
successor takes over, connections cut; between two runs the program's maps seem changed. When the
program has nothing left to do, or the blows are used up, the round is judged (see `verdict`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil  # type: ignore[import-untyped]
import psycopg

from penstock import faults
from penstock.engines import verdict
from penstock.errors import Unavailable
from penstock.services.postgresql import EmbeddedPostgresql

POINT, MOMENT, POSTGRESQL, STOPPED, CUT = "point", "moment", "postgresql", "stopped", "cut"

_KINDS = (POINT, POINT, POINT, MOMENT, POSTGRESQL, STOPPED, CUT)
_POINTS = (*faults.POINTS, "staged", "committing", "between-sinks", "committed")
_BATCHES = (20, 200, 2_000)
_VARIANTS = (0, 0, 1, 2)
_AIMS = {
    "trimming": ((POINT,), ("between-sinks", "committed")),
    "fencing": ((STOPPED,), ("staging", "staged", "committing")),
    "open-batch": ((POINT,), ("committing",)),
    "staged-count": ((CUT,), ("staged", "committing")),
}
_PATIENCE = 90.0
_LOG_TAIL = 1_500


@dataclass(frozen=True)
class Blow:
    """One thing that is done to a run.

    Args:
        kind: What.
        point: Where in the program a `point`, `stopped` or `cut` blow falls.
        nth: At which pass of the point.
        delay: Seconds into the run for the other kinds.
        batch: Records in a micro-batch of this run.
        variant: Which change of the program's maps is pretended.
        program: Which version of the program runs.
    """

    kind: str
    point: str
    nth: int
    delay: float
    batch: int
    variant: int
    program: int

    def __str__(self) -> str:
        """Say it in a few words."""
        places = {
            POINT: f"SIGKILL at {self.point!r}, pass {self.nth}",
            MOMENT: f"SIGKILL after {self.delay:.2f} s",
            POSTGRESQL: f"SIGKILL of PostgreSQL after {self.delay:.2f} s",
            CUT: f"all connections cut at {self.point!r}, pass {self.nth}",
            STOPPED: f"SIGSTOP at {self.point!r}, pass {self.nth}, and a successor takes over",
        }
        return places[self.kind]


def schedule(seed: int, kills: int, programs: int, without: str | None = None) -> list[Blow]:
    """Draw the blows; the same seed gives the same ones.

    Args:
        seed: For the random numbers.
        kills: How many blows.
        programs: How many versions of the program there are.
        without: A guarantee that is switched off: the blows are aimed at what it guards.
    """
    random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    kinds, points = _AIMS.get(without or "", (_KINDS, _POINTS))
    return [
        Blow(
            kind=random.choice(kinds),
            point=random.choice(points),
            nth=random.randint(1, 5),
            delay=random.uniform(0.5, 2.5),
            batch=random.choice(_BATCHES),
            variant=random.choice(_VARIANTS),
            program=random.randrange(programs),
        )
        for _ in range(kills)
    ]


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
        without: A guarantee to switch off; the test must then fail.
        records: Synthetic records for each topic that others would write.
        said: Told what happens, a line at a time.
    """

    programs: Sequence[Path]
    kills: int = 20
    seed: int = 1
    without: str | None = None
    records: int = 20_000
    said: Callable[[str], None] = lambda line: None

    def command(self, kills: int) -> str:
        """Return the command that repeats the first so many blows."""
        parts = ["penstock", "crashtest", str(self.programs[0])]
        parts += ["--kills", str(kills), "--seed", str(self.seed)]
        if len(self.programs) > 1:
            parts += ["--changed", str(self.programs[1])]
        if self.without:
            parts += ["--without", self.without]
        return " ".join(parts)


def run(trial: Trial) -> Result:
    """Run a trial to its end or to the first round that fails."""
    result = Result()
    blows = schedule(trial.seed, trial.kills, len(trial.programs), trial.without)
    while blows and result.passed:
        with tempfile.TemporaryDirectory(prefix="penstock-crash-") as folder:
            _Round(trial, result, Path(folder)).run(blows)
        result.rounds += 1
    if not result.passed:
        result.command = trial.command(result.blows + result.missed)
    return result


class _Round:
    def __init__(self, trial: Trial, result: Result, folder: Path) -> None:
        self._trial = trial
        self._result = result
        self._folder = folder
        self._server = EmbeddedPostgresql(folder / ".penstock")
        self._log = folder / "run.log"
        self._codes: set[int] = set()

    def run(self, blows: list[Blow]) -> None:
        """Use up blows until the program has nothing left to do, then judge."""
        seed = self._trial.seed + self._result.rounds
        with self._server.session():
            verdict.fill_topics(self._folder, self._trial.programs[0], self._trial.records, seed)
            latest = 0
            while blows and self._result.passed:
                blow = blows.pop(0)
                latest = blow.program
                if not self._fell(blow):
                    self._result.missed += 1
                    break
                self._result.blows += 1
                self._trial.said(f"{self._result.blows}: {blow}")
            self._server.ensure()
            self._judge(latest)

    def _judge(self, program: int) -> None:
        if self._result.passed:
            self._trial.said(f"round {self._result.rounds + 1}: finishing calmly, comparing")
            self._result.differences += verdict.judge(
                self._folder, self._trial.programs[program], changed=len(self._trial.programs) > 1
            )

    def _fell(self, blow: Blow) -> bool:
        """Let a blow fall; False when the run ended by itself before."""
        # A run that is only starting, or has ended, says that PostgreSQL is away and ends.
        self._codes = {0, -signal.SIGKILL}
        if blow.kind in (POSTGRESQL, CUT):
            self._codes.add(Unavailable.exit_code)
        fall = {
            POINT: self._point,
            MOMENT: self._moment,
            POSTGRESQL: self._postgresql,
            STOPPED: self._stopped,
            CUT: self._cut,
        }
        return fall[blow.kind](blow)

    def _point(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:KILL:{blow.nth}") as child:
            return self._ended(child) == -signal.SIGKILL

    def _moment(self, blow: Blow) -> bool:
        with self._child(blow) as child:
            if self._ended_within(child, blow.delay):
                return False
            child.kill()
            return True

    def _postgresql(self, blow: Blow) -> bool:
        with self._child(blow) as child:
            if self._ended_within(child, blow.delay):
                return False
            _kill_server(self._server)
            if not self._ended_within(child, blow.delay + 1):
                self._terminate(child)
            return True

    def _stopped(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:STOP:{blow.nth}") as child:
            if not self._wait_stopped(child):
                return False
            with self._child(blow, "--take-over") as successor:
                self._ended_within(successor, blow.delay + 1)
                child.send_signal(signal.SIGCONT)
                self._ended_within(successor, blow.delay)
                self._terminate(child, fenced=True)
                self._terminate(successor)
            return True

    def _cut(self, blow: Blow) -> bool:
        with self._child(blow, fault=f"{blow.point}:STOP:{blow.nth}") as child:
            if not self._wait_stopped(child):
                return False
            _cut_connections(self._server)
            child.send_signal(signal.SIGCONT)
            if not self._ended_within(child, blow.delay + 1):
                self._terminate(child)
            return True

    @contextmanager
    def _child(
        self, blow: Blow, *options: str, fault: str | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program in a child process; it is gone at the end of the block."""
        program = self._trial.programs[blow.program].absolute()
        command = [sys.executable, "-m", "penstock", "run", str(program), "--until-idle", *options]
        environment = {
            **os.environ,
            "PENSTOCK_BATCH_RECORDS": str(blow.batch),
            "PENSTOCK_DATA": str(self._folder / ".penstock"),
            "PENSTOCK_VARIANT": str(blow.variant),
            "PENSTOCK_DISABLE": self._trial.without or "",
            "PENSTOCK_FAULT": fault or "",
        }
        with self._log.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - the user's own program, as the user runs it
                command, env=environment, stdout=log, stderr=log
            )
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def _ended(self, child: subprocess.Popen[bytes]) -> int | None:
        try:
            code = child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._wrong(f"the run did not end within {_PATIENCE:.0f} s")
            return None
        if code not in self._codes:
            self._wrong(f"the run ended with code {code}")
        return code

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
            code = child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._wrong(f"the run did not stop within {_PATIENCE:.0f} s of a SIGTERM")
            return
        # A run that listens to no signal yet, or no more, is ended by it at once.
        if not fenced and code not in {*self._codes, -signal.SIGTERM}:
            self._wrong(f"the run ended with code {code}")

    def _wait_stopped(self, child: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if child.poll() is not None:
                return False
            if psutil.Process(child.pid).status() == psutil.STATUS_STOPPED:
                return True
            time.sleep(0.02)
        self._wrong(f"the run neither stopped nor ended within {_PATIENCE:.0f} s")
        return False

    def _wrong(self, words: str) -> None:
        tail = self._log.read_text(errors="replace")[-_LOG_TAIL:]
        self._result.differences.append(f"{words}; its last words:\n{tail}")


def _cut_connections(server: EmbeddedPostgresql) -> None:
    with psycopg.connect(server.url, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'penstock:%' AND pid <> pg_backend_pid()"
        )


def _kill_server(server: EmbeddedPostgresql) -> None:
    """SIGKILL of the postmaster and all its children, as when a machine loses power."""
    pid = server.status().pid
    if pid is None:
        return
    postmaster = psutil.Process(pid)
    for process in [postmaster, *postmaster.children(recursive=True)]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
