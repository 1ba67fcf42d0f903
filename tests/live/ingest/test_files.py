"""Files of every form through the command, killed again and again: each record once, exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.live.project import Project
from tests.stack.objects import Objects

from penstock.filesystems import open_url

PROGRAM = """
import penstock as ps

class Sale(ps.Contract):
    id: int = ps.key()
    word: str
    price: float | None

pipeline = ps.Pipeline("shop")
sales = pipeline.source(ps.Files({path!r}, format={format!r}), Sale, land="raw_sales")
sales.sink("sales", store="one", mode="append")
"""

ROWS = 60_000
BAD = 500
"""After so many good records comes a bad one."""


def frame(start: int, count: int) -> pl.DataFrame:
    numbers = pl.Series("id", range(start, start + count))
    words = [f'a "quoted", word\n{n}' for n in numbers]
    prices = [None if n % 3 else n / 4 for n in numbers]
    return pl.DataFrame({"id": numbers, "word": words, "price": prices})


def csv_files(folder: Path) -> None:
    third = ROWS // 3
    for number in range(3):
        text = [
            frame(at, BAD).write_csv(include_header=at == number * third)
            + ("ragged\n", '7,"x"y,\n', "7.0,a,\n")[at // BAD % 3]
            for at in range(number * third, (number + 1) * third, BAD)
        ]
        (folder / f"{number}.csv").write_text("".join(text))


def parquet_files(folder: Path) -> None:
    third = ROWS // 3
    for number in range(3):
        table = frame(number * third, third)
        bad = table.filter(pl.int_range(pl.len()) % BAD == 0).with_columns(price=float("nan"))
        pl.concat([table, bad]).write_parquet(folder / f"{number}.parquet", row_group_size=7000)


FORMS: dict[str, Callable[[Path], None]] = {"csv": csv_files, "parquet": parquet_files}


def landed(project: Project) -> int:
    made = project.rows("SELECT to_regclass('landing.raw_sales') IS NOT NULL") == [(True,)]
    return int(project.rows("SELECT count(*) FROM landing.raw_sales")[0][0]) if made else 0


def kill_after_some_landed(project: Project) -> None:
    before = landed(project)
    victim = project.start("run", "program.py", "--until-idle")
    try:
        deadline = time.monotonic() + 90
        while victim.poll() is None and landed(project) == before:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        victim.kill()
        victim.communicate()


@pytest.mark.parametrize("format", FORMS)
def test_files_are_read_once_whatever_is_killed(project: Project, format: str) -> None:
    inbox = project.path / "inbox"
    inbox.mkdir()
    FORMS[format](inbox)
    project.write(PROGRAM.format(path=f"inbox/*.{format}", format=format))
    for _ in range(2):
        kill_after_some_landed(project)
    project.run()
    rows = sorted(project.table("one", "sales", "id, word, price"))
    assert rows == frame(0, ROWS).rows()
    assert project.counts("sales@one")["dead"] == ROWS // BAD
    project.balance()
    shown = project.json("deadletters", "show", "--limit", "1")["letters"]
    assert len(shown) == 1


def test_objects_of_s3_into_a_table(project: Project, s3: Objects) -> None:
    url = s3.bucket()
    parquet_files(project.path)
    files = open_url(url)
    for number in range(3):
        data = (project.path / f"{number}.parquet").read_bytes()
        files.write(f"in/{number}.parquet", [data[:-100] if number == 1 else data])
    head, _, query = url.partition("?")
    project.write(PROGRAM.format(path=f"{head}/in/*.parquet?{query}", format="parquet"))
    assert "secret" not in str(project.json("check", "program.py"))
    assert "secret" not in project.run()
    third = ROWS // 3
    rows = sorted(project.table("one", "sales", "id, word, price"))
    assert rows == frame(0, third).rows() + frame(2 * third, third).rows()
    assert project.counts("sales@one")["dead"] == 2 * third // BAD + 1
    project.balance()
