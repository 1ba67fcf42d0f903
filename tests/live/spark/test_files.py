"""A lake that executors stage: killed workers and tasks that run twice add no row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.live.spark.ground import Ground
from tests.stack.watchdog import watched

pytestmark = pytest.mark.timeout(900)

TRIED_AGAIN = """
from penstock.sinks.files.sink import FileSink

stage_apart = FileSink.stage_apart


def staged(sink, place, rows):
    receipt = stage_apart(sink, place, rows)
    if once("staged, then killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if once("staged twice"):
        receipt = stage_apart(sink, place, rows)
    return receipt


FileSink.stage_apart = staged


def same(items):
    return items
"""


def test_what_executors_stage_is_in_the_lake_once(
    tmp_path: Path, database: str, spark: Path, kafka: str, topic_name: str
) -> None:
    path = tmp_path.resolve()
    lake = path / "lake"
    with watched(path):
        ground = Ground(
            path,
            database,
            {"one": lake.as_uri()},
            log=kafka,
            prefix=f"{topic_name}_",
            spark={"inline": 0, "records": 4_000},
        )
        ground.program(TRIED_AGAIN)
        ground.make()
        ground.send(range(12_000))
        ground.run()
        assert ground.marked == {"staged, then killed", "staged twice"}
        files = list((lake / "seen").rglob("*.parquet"))
        numbers = pl.concat([pl.read_parquet(file)["number"] for file in files])
        assert sorted(numbers.to_list()) == list(range(12_000))
        ground.balance()
