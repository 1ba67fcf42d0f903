"""Nothing is lost or doubled on Spark, whatever is killed: exact rows, and the books balance."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from tests.live.spark.ground import Ground, ended, until
from tests.stack.watchdog import watched

from penstock.engines.trials import victims
from penstock.services.postgresql import EmbeddedPostgresql

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def ground(
    tmp_path: Path, database: str, spark: Path, kafka: str, topic_name: str
) -> Iterator[Ground]:
    """A folder whose runs are on executors; every micro-batch is staged by them."""
    tmp_path = tmp_path.resolve()
    with watched(tmp_path):
        yield Ground(
            tmp_path,
            database,
            log=kafka,
            prefix=f"{topic_name}_",
            spark={"inline": 0, "records": 4_000},
        )


TRIED_AGAIN = """
from penstock.sinks.postgresql.sink import PostgresqlSink

stage_apart = PostgresqlSink.stage_apart


def staged(sink, place, rows):
    receipt = stage_apart(sink, place, rows)
    if once("staged, then killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if once("staged twice"):
        receipt = stage_apart(sink, place, rows)
    return receipt


PostgresqlSink.stage_apart = staged


def same(items):
    numbers = items["number"].to_list()
    if attempt() >= 0 and 1_000 in numbers and once("worker"):
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt() >= 0 and 5_000 in numbers and once("executor"):
        executor().kill()
        time.sleep(100)
    return items
"""


def test_a_task_that_runs_again_counts_once(ground: Ground) -> None:
    ground.program(TRIED_AGAIN)
    ground.make()
    ground.send(range(12_000))
    ground.run()
    assert ground.marked == {"worker", "executor", "staged, then killed", "staged twice"}
    ground.exact(range(12_000))
    ground.balance()
    ground.alone()
    assert ground.staged() == []


DEADLY = """
def same(items):
    if 700 in items["number"].to_list():
        os._exit(9)
    if attempt() >= 0 and 2_500 in items["number"].to_list():  # where it runs short of memory
        os.kill(os.getpid(), signal.SIGABRT)
    return items
"""


def test_a_record_that_kills_is_buried_and_what_only_executors_cannot_bear_is_not(
    ground: Ground,
) -> None:
    ground.spark = {"records": 2_000}
    ground.engine = "local[2]"
    ground.settle()
    ground.program(DEADLY)
    ground.make()
    ground.send(range(6_000))
    ground.run()
    assert [letter["rule"] for letter in ground.letters()] == [
        "the process died of the record",  # for each lane
        "the process died of the record",
    ]
    ground.exact([n for n in range(6_000) if n != 700])
    ground.balance()
    ground.alone()


def test_a_killed_driver_a_lost_checkpoint_and_a_crashed_database(
    tmp_path_factory: pytest.TempPathFactory, ground: Ground
) -> None:
    server = EmbeddedPostgresql(tmp_path_factory.mktemp("server"))
    with server.session() as url:
        ground.url = url
        ground.stores = {name: f"{url}&schema={name}" for name in ("one", "two")}
        ground.settle()
        ground.make()
        ground.send(range(20_000))

        ground.program()
        killed(ground, "staged")
        assert len(ground.staged()) == 2, "nothing is left to be swept"

        ground.program(CHANGED)
        with stopped(ground, "committing", 2) as run:
            victims.embedded(server).kill()
            server.ensure()
            run.send_signal(signal.SIGCONT)
            code, said = ended(run)
        assert code == 0, said
        assert ground.marked == {"checkpoint"}

        ground.exact(range(20_000))
        ground.balance()
        ground.alone()
        assert ground.staged() == []


CHANGED = """
import shutil


def same(items):
    if attempt() >= 0 and 9_000 in items["number"].to_list() and once("checkpoint"):
        [folder] = (MARKS.parent / ".penstock" / "spark").glob("spark-*/checkpoint-*")
        shutil.rmtree(folder)
    return items.with_columns(number=pl.col("number") + 0)
"""


def killed(ground: Ground, point: str) -> None:
    """Run until a SIGKILL; Spark's processes must end by themselves."""
    ground.environment["PENSTOCK_FAULT"] = f"{point}:KILL:2"
    code, said = ended(ground.start("run", "program.py", "--until-idle"))
    assert code == -signal.SIGKILL, said
    until(lambda: not ground.processes(), "Spark ends after its driver")


@contextmanager
def stopped(ground: Ground, point: str, nth: int) -> Iterator[subprocess.Popen[bytes]]:
    """Give a run that has stopped at a point."""
    ground.environment["PENSTOCK_FAULT"] = f"{point}:STOP:{nth}"
    run = ground.start("run", "program.py", "--until-idle")
    try:
        process = psutil.Process(run.pid)
        until(lambda: process.status() == psutil.STATUS_STOPPED, f"the run stops at {point}", 300)
        yield run
    finally:
        run.kill()
        run.wait()
        del ground.environment["PENSTOCK_FAULT"]
