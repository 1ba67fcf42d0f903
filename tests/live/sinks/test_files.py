"""A lake written by runs that are killed: other readers see each row once, and all in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from tests.live.project import Project

from penstock.sinks.files.layout import NULL

PROGRAM = """
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    country: str | None
    amount: Annotated[Decimal, ps.Digits(12, 2)]
    day: date
    at: datetime
    tags: list[str]

pipeline = ps.Pipeline("shop")
pipeline.topic("orders", Order).sink("orders", store="lake", mode="append")
"""

COUNTRIES = ["de", "fr", "a/b=c%", None]
MANY = 2000


def order(number: int) -> bytes:
    made = {
        "id": number,
        "country": COUNTRIES[number % 4],
        "amount": f"{number}.25",
        "day": f"2026-11-{number % 28 + 1:02}",
        "at": f"2026-11-20T{number % 24:02}:00:00.123456Z",
        "tags": ["x", str(number)],
    }
    return json.dumps(made).encode()


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    made = Project(tmp_path, database, {"lake": (tmp_path / "lake").as_uri()})
    made.write(PROGRAM)
    made.produce("orders", [order(number) for number in range(MANY)])
    return made


def settings(project: Project, text: str) -> None:
    """Give the table settings, as a user would."""
    file = project.path / "penstock.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith('"lake"')]
    url = (project.path / "lake").as_uri()
    lines.append(f'lake = {{ url = "{url}", tables.orders = {{ {text} }} }}')
    file.write_text("\n".join(lines) + "\n")


def by_polars(project: Project) -> list[int]:
    files = list((project.path / "lake" / "orders").rglob("*.parquet"))
    return sorted(number for f in files for number in pl.read_parquet(f)["id"].to_list())


def by_duckdb(project: Project, what: str) -> list[tuple[object, ...]]:
    glob = f"{project.path}/lake/orders/**/*.parquet"
    text = f"SELECT {what} FROM read_parquet('{glob}', union_by_name = true) ORDER BY ALL"
    return asked(text)


def asked(text: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as session:
        return session.execute(text).fetchall()


def test_what_was_sent_is_read_by_others(project: Project) -> None:
    project.run()
    project.balance()
    assert by_polars(project) == list(range(MANY))
    found = by_duckdb(project, "id, country, amount::text, day::text, len(tags)")
    expected = [
        (o["id"], o["country"], o["amount"], o["day"], len(o["tags"]))
        for o in map(json.loads, map(order, range(MANY)))
    ]
    assert found == expected


def test_folders_by_hostile_values_and_days(project: Project) -> None:
    settings(project, 'partition_by = ["country", "date(at)"]')
    project.run()
    project.balance()
    names = {folder.name for folder in (project.path / "lake" / "orders").iterdir()}
    assert names == {
        "country=de",
        "country=fr",
        "country=a%2Fb%3Dc%25",
        "country=__HIVE_DEFAULT_PARTITION__",
    }
    glob = f"{project.path}/lake/orders/**/*.parquet"
    text = (
        "SELECT country, count(*), count(DISTINCT id), min(at_date)::text "
        f"FROM read_parquet('{glob}', hive_partitioning = true) GROUP BY 1 ORDER BY 1"
    )
    assert asked(text) == [(name, 500, 500, "2026-11-20") for name in ("a/b=c%", "de", "fr", None)]
    hive = pl.scan_parquet(f"{project.path}/lake/orders/", hive_partitioning=True).collect()
    assert sorted(hive["id"].to_list()) == list(range(MANY))
    assert hive.filter(pl.col("country").is_null()).height == 500


KILLS = [
    ("flat", "staging"),
    ("flat", "staged"),
    ("flat", "committing"),
    ("flat", "listed"),
    ("flat", "committed"),
    ("folders", "copying"),
    ("folders", "listed"),
    ("folders", "showing"),
]


@pytest.mark.parametrize(("layout", "point"), KILLS)
def test_killed_anywhere_no_row_is_lost_or_twice(project: Project, point: str, layout: str) -> None:
    by = 'partition_by = ["country"]' if layout == "folders" else "partition_by = []"
    settings(project, f"{by}, rows = 500")
    words = ["run", "program.py", "--until-idle"]
    for nth in (2, 4 if point in {"copying", "showing"} else 2):
        project.environment["PENSTOCK_FAULT"] = f"{point}:KILL:{nth}"
        process = project.start(*words)
        process.communicate(timeout=100)
        assert process.returncode == -signal.SIGKILL, point
        seen = by_polars(project)
        assert len(seen) == len(set(seen)), "a reader sees a row twice"
    del project.environment["PENSTOCK_FAULT"]
    project.run("--take-over")
    project.balance()
    assert by_polars(project) == list(range(MANY))
    left = list((project.path / "lake" / "_penstock").rglob("*.staged"))
    assert left == [], "what was staged and never committed is swept"


def test_readers_meanwhile_see_whole_files_and_no_row_twice(project: Project) -> None:
    settings(project, "rows = 50")
    process = project.start("run", "program.py", "--until-idle")
    folder = project.path / "lake" / "orders"
    looks = set()
    while process.poll() is None:
        if list(folder.rglob("*.parquet")):
            [(rows, distinct)] = by_duckdb(project, "count(*), count(DISTINCT id)")
            assert rows == distinct
            assert isinstance(rows, int)
            assert rows % 50 == 0
            by = pl.scan_parquet(f"{folder}/").select(pl.len(), u=pl.col("id").n_unique()).collect()
            assert by["len"][0] == by["u"][0]
            looks.add(rows)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert len(looks) > 1, "nobody looked while it was written"
    assert by_polars(project) == list(range(MANY))


def test_an_upsert_is_refused_with_the_cure(project: Project) -> None:
    project.write(PROGRAM.replace(', mode="append"', ""))
    ran = project.penstock("check", "program.py", code=1)
    assert b'mode="append"' in ran.stdout + ran.stderr


def test_a_grown_contract_adds_a_column_to_new_files(project: Project) -> None:
    project.run()
    project.write(
        PROGRAM.replace("    tags: list[str]", "    tags: list[str]\n    note: str | None")
    )
    more = [{**json.loads(order(n)), "note": "new"} for n in range(MANY, MANY + 10)]
    project.produce("orders", [json.dumps(one).encode() for one in more])
    project.run()
    project.balance()
    assert by_duckdb(project, "count(*), count(note)") == [(MANY + 10, 10)]


def test_a_value_that_no_folder_can_have_is_a_dead_letter(project: Project) -> None:
    settings(project, 'partition_by = ["country"]')
    bad = {**json.loads(order(MANY)), "country": ""}
    long = {**json.loads(order(MANY + 1)), "country": "x" * 300}
    project.produce("orders", [json.dumps(one).encode() for one in (bad, long)])
    project.run()
    project.balance()
    assert by_polars(project) == list(range(MANY))
    assert project.counts("orders@lake")["dead"] == 2


def test_a_damaged_manifest_is_said(project: Project) -> None:
    project.run()
    manifests = project.path / "lake" / "_penstock" / "orders" / "manifests"
    last = max(manifests.iterdir())
    last.write_bytes(last.read_bytes()[:-40])
    assert "is damaged" in project.run(code=1)


def test_a_committed_file_that_is_gone_is_said(project: Project) -> None:
    project.run()
    for file in (project.path / "lake" / "orders").rglob("*.parquet"):
        file.unlink()
    found = project.penstock("reconcile", "program.py", "--deep", code=1)
    assert b"orders@lake" in found.stdout + found.stderr


def many_files(project: Project, by: str = "") -> int:
    settings(project, f"rows = 100, partition_by = [{by}]")
    project.run()
    return len(list((project.path / "lake" / "orders").rglob("*.parquet")))


def test_compaction_makes_few_files_of_many(project: Project) -> None:
    assert many_files(project, '"country"') == MANY // 100 * 4
    answer = project.json("compact", "program.py", "--table", "orders@lake")
    assert answer["tables"]["orders@lake"]["before"] == MANY // 100 * 4
    assert answer["tables"]["orders@lake"]["after"] == 4
    assert by_polars(project) == list(range(MANY))
    project.balance()
    assert project.json("compact", "program.py")["tables"]["orders@lake"]["before"] == 0


def test_compaction_joins_files_of_two_contracts(project: Project) -> None:
    many_files(project)
    project.write(
        PROGRAM.replace("    tags: list[str]", "    note: str | None\n    tags: list[str]")
    )
    project.produce("orders", [order(MANY)[:-1] + b', "note": "new"}'])
    project.run()
    project.penstock("compact", "program.py")
    assert by_duckdb(project, "count(*), count(note), count(DISTINCT id)") == [
        (MANY + 1, 1, MANY + 1)
    ]
    assert len(list((project.path / "lake" / "orders").rglob("*.parquet"))) == 1
    project.balance()


@pytest.mark.parametrize("nth", [1, 2])
def test_a_compaction_that_is_killed_is_finished_by_the_next_run(
    project: Project, nth: int
) -> None:
    many_files(project)
    project.environment["PENSTOCK_FAULT"] = f"showing:KILL:{nth}"
    process = project.start("compact", "program.py")
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    seen = by_polars(project) if list((project.path / "lake/orders").rglob("*.parquet")) else []
    assert len(seen) == len(set(seen)), "a reader sees a row twice"
    del project.environment["PENSTOCK_FAULT"]
    project.balance()
    project.run()
    assert by_polars(project) == list(range(MANY))


def test_a_compaction_beside_a_run_loses_nothing(project: Project) -> None:
    settings(project, "rows = 50")
    process = project.start("run", "program.py", "--until-idle")
    folder = project.path / "lake" / "orders"
    while not list(folder.rglob("*.parquet")):
        assert process.poll() is None
    while process.poll() is None:
        project.penstock("compact", "program.py")
    process.communicate(timeout=100)
    project.balance()
    assert by_polars(project) == list(range(MANY))


def test_compaction_of_a_program_without_files_is_refused(project: Project) -> None:
    project.write(PROGRAM.replace('store="lake"', 'store="one"'))
    ran = project.penstock("compact", "program.py", code=2)
    assert b"writes files" in ran.stderr


@pytest.mark.timeout(600)
def test_spark_and_a_hive_metastore_read_it_after_a_kill(project: Project, spark: Path) -> None:
    settings(project, 'rows = 500, partition_by = ["country", "date(at)"]')
    project.environment["PENSTOCK_FAULT"] = "showing:KILL:8"
    process = project.start("run", "program.py", "--until-idle")
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    del project.environment["PENSTOCK_FAULT"]
    project.run("--take-over")
    script = Path(__file__).with_name("reads_a_lake.py")
    read = subprocess.run(
        [sys.executable, script, project.path / "lake" / "orders", project.path / "scratch"],
        capture_output=True,
        cwd=project.path,
        env={**os.environ, "JAVA_HOME": str(spark.resolve().parent.parent)},
        timeout=500,
        check=False,
    )
    assert read.returncode == 0, read.stderr.decode()[-4000:]
    answer = json.loads(read.stdout.splitlines()[-1])
    groups = [[None, 500], ["a/b=c%", 500], ["de", 500], ["fr", 500]]
    amount = f"{sum(range(MANY)) + MANY // 4}.00"
    rest = ["1500", groups, ["x", "7"]]
    at, day = "2026-11-20 00:00:00.123456", "2026-11-01"
    assert answer["found"] == {
        "plain true": ["2000", "2000", amount, at, *rest],
        "orders true": ["2000", "2000", amount, at, *rest],
        # Hive's own reader shows a null of a text folder by its name.
        "orders false": ["2000", "2000", amount, day, "2000", [[NULL, 500], *groups[1:]], rest[2]],
    }
    assert answer["types"]["at"] == "timestamp"
    assert answer["types"]["amount"] == "decimal(12,2)"
    assert answer["types"]["tags"] == "array<string>"
