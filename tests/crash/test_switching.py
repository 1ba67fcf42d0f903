"""From one engine to the other in the middle of a stream, with a kill at each seam."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from tests.live.spark.ground import Ground, ended, until
from tests.stack.watchdog import watched

pytestmark = pytest.mark.timeout(1200)

EMBEDDED, SPARK = "test", "spark"


@pytest.fixture
def ground(
    tmp_path: Path, database: str, spark: Path, kafka: str, topic_name: str
) -> Iterator[Ground]:
    tmp_path = tmp_path.resolve()
    given = {"inline": 200, "records": 2_000}  # small micro-batches come back, others are staged
    with watched(tmp_path):
        ground = Ground(
            tmp_path, database, log=kafka, prefix=f"{topic_name}_", engine="local[2]", spark=given
        )
        ground.program()
        ground.make()
        yield ground


@contextmanager
def written(ground: Ground) -> Iterator[list[int]]:
    """Write items all the time; gives how many there are, which is true after the block."""
    ending, count = threading.Event(), [0]

    def write() -> None:
        while not ending.wait(0.1):
            ground.send(range(count[0], count[0] + 100))
            count[0] += 100

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        ending.set()
        thread.join()


@contextmanager
def running(ground: Ground, engine: str, *words: str, fault: str = "") -> Iterator[Run]:
    ground.environment["PENSTOCK_FAULT"] = fault
    with ground.start("run", "program.py", "--profile", engine, *words) as process:
        del ground.environment["PENSTOCK_FAULT"]
        try:
            yield process
        finally:
            process.kill()


Run = subprocess.Popen[bytes]


def says(run: Run, words: str) -> None:
    """Read what a run says until these words are there."""
    assert run.stderr
    said = []
    for line in run.stderr:
        said.append(line.decode())
        if words in said[-1]:
            return
    raise AssertionError("".join(said))


def test_engines_take_turns_and_each_is_killed(ground: Ground) -> None:
    seams = [
        (EMBEDDED, "committing"),
        (SPARK, "between-sinks"),
        (EMBEDDED, "committed"),
        (SPARK, "staged"),
    ]
    with written(ground) as count:
        for engine, point in seams:
            with running(ground, engine, fault=f"{point}:KILL:3") as run:
                code, said = ended(run)
            assert code == -signal.SIGKILL, said
        with running(ground, EMBEDDED) as run:
            says(run, "is running")
            run.terminate()
            assert ended(run)[0] == 0
    ground.run("--profile", SPARK)
    ground.balance()
    ground.exact(range(count[0]))
    ground.alone()
    assert ground.staged() == []


def test_of_two_engines_one_stands_by_and_who_is_overtaken_writes_nothing_more(
    ground: Ground,
) -> None:
    ground.send(range(3_000))
    with running(ground, EMBEDDED) as first:
        says(first, "is running")
        with running(ground, SPARK) as second:
            says(second, "standing by")
            second.terminate()
            code, said = ended(second)
            assert code == 0, said
    with running(ground, SPARK, fault="committing:STOP:1") as first:
        process = psutil.Process(first.pid)
        ground.send(range(3_000, 6_000))
        until(lambda: process.status() == psutil.STATUS_STOPPED, "the first run stops", 300)
        ground.run("--profile", EMBEDDED, "--take-over")
        ground.exact(range(6_000))
        first.send_signal(signal.SIGCONT)
        says(first, "standing by")
        first.terminate()
        ended(first)
    ground.exact(range(6_000))
    ground.balance()
    ground.alone()
