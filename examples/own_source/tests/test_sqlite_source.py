"""The source of the example keeps the promises of the `Source` interface."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from penstock import pipeline as pipelines
from penstock import testing
from penstock.errors import Unavailable
from penstock.interfaces import Source

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE))

from sqlite_source import SqliteTable  # noqa: E402 - the example is a folder, not a package


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.db"
    insert(path, *range(2500), create=True)
    return path


def insert(path: Path, *pieces: int, create: bool = False) -> None:
    with sqlite3.connect(path) as connection:
        if create:
            connection.execute("CREATE TABLE orders (id TEXT, pieces INT)")
        rows = [(f"o{n}", n) for n in pieces]
        connection.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    connection.close()


def test_each_row_comes_once_whatever_is_landed_before_a_crash(file: Path) -> None:
    source: Source = SqliteTable(str(file), "orders")
    clock = testing.ManualClock()
    first = next(iter(source.poll(None, clock)))
    insert(file, 2500)
    rest = list(source.poll(json.loads(json.dumps(first.cursor)), clock))
    rows = [row["pieces"] for r in (first, *rest) for row in json.loads(r.body)]
    assert rows == list(range(2501))
    assert list(source.poll(rest[-1].cursor, clock)) == []


def test_a_file_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open"):
        SqliteTable(str(tmp_path / "none.db"), "orders").check()


def test_the_pipeline_reads_its_responses(file: Path) -> None:
    pipeline = pipelines.load(HERE / "sqlite_source.py")
    responses = list(SqliteTable(str(file), "orders").poll(None, None))
    result = testing.run(pipeline, responses)
    assert len(result["orders@warehouse"]) == 2500
