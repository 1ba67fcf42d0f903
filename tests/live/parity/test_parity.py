"""The same program and input on two engines, over every feature of a plan; parity can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from tests.live.parity import hostile
from tests.stack import clients

FEATURES = Path(__file__).parent / "programs" / "features.py"
SMALL = """
import os
import polars as pl
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    total: int

def taxed(rows):
    rate = int(os.environ.get("RATE") or 2)
    return rows.with_columns(total=pl.col("total") % 1000 * rate)

pipeline = ps.Pipeline("shop")
orders = pipeline.topic("orders", Order)
taxed = orders.map(taxed, Order).topic("taxed", partitions=2)
taxed.sink("orders", store="warehouse")
taxed.sink("all", store="serving", mode="append")
"""

pytestmark = pytest.mark.timeout(600)


SPARK = """
engine = "local[2]"
[profiles.test.spark]
records = 80
inline = 20
"""
"""Small micro-batches, some of which executors write by themselves."""


@dataclass
class Folder:
    """A user's folder with a profile `test`."""

    path: Path
    urls: dict[str, str]
    stores: dict[str, str]

    def settle(self, settings: str = "") -> None:
        """Write the profile, and a program."""
        lines = ["[profiles.test]", *(f"{name} = {url!r}" for name, url in self.urls.items())]
        lines += [settings, "[profiles.test.stores]"]
        lines += [f"{name} = {url!r}" for name, url in self.stores.items()]
        (self.path / "penstock.toml").write_text("\n".join(lines))
        (self.path / "small.py").write_text(SMALL)

    def parity(self, program: Path | str, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "penstock", "parity", str(program)]
        return subprocess.Popen(
            [*command, "--profile", "test", *words],
            cwd=self.path,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def answer(
        self, program: Path | str, *words: str, code: int = 0, **variables: str
    ) -> dict[str, Any]:
        process = self.parity(program, "--json", *words, **variables)
        return dict(json.loads(self.ended(process, code)[0]))

    def ended(self, process: subprocess.Popen[bytes], code: int) -> tuple[bytes, bytes]:
        """Wait for the end of a command, and see how it ended."""
        try:
            out, err = process.communicate(timeout=800)
        finally:
            process.terminate()
        said = (out + err).decode()
        assert process.returncode == code, said
        assert "Traceback" not in said, said
        return out, err

    def left(self) -> list[str]:
        """Whatever there is of parity's own in the servers."""
        found: list[str] = []
        with psycopg.connect(self.urls["home"]) as session:
            found += [name for (name,) in session.execute("SELECT datname FROM pg_database")]
        found += clients.topics(self.urls["log"])
        if registry := self.urls.get("registry"):
            found += httpx.get(f"{registry}/subjects").json()
        for url in (url for url in self.stores.values() if url.startswith("cassandra:")):
            with clients.cql(url) as session:
                statement = "SELECT keyspace_name FROM system_schema.keyspaces"
                found += [row.keyspace_name for row in session.execute(statement)]
        return [name for name in found if "parity_" in name]


@pytest.fixture
def on_kafka(tmp_path: Path, kafka: str, database: str) -> Folder:
    stores = {name: f"{database}&schema={name}" for name in ("warehouse", "serving")}
    given = Folder(tmp_path, {"home": database, "log": kafka}, stores)
    given.settle()
    return given


def compared(found: dict[str, Any]) -> dict[str, int]:
    return {lane["lane"]: lane["compared"] for lane in found["lanes"]}


@pytest.mark.parametrize(
    ("form", "settings"),
    [("json", ""), ("json-schema", ""), ("avro", ""), ("json", SPARK), ("avro", SPARK)],
    ids=["json", "json-schema", "avro", "json-spark", "avro-spark"],
)
@pytest.mark.timeout(900)
def test_every_feature(
    request: pytest.FixtureRequest, on_kafka: Folder, form: str, settings: str
) -> None:
    if settings:
        request.getfixturevalue("spark")
    if form != "json":
        registry, cassandra = map(request.getfixturevalue, ("registry", "cassandra"))
        on_kafka.urls["registry"] = registry
        on_kafka.stores["serving"] = f"{cassandra}/parity?replication=1"
    on_kafka.settle(f'format = "{form}"\n{settings}')
    given = hostile.write(on_kafka.path / "input.ndjson", rows=form != "json")
    found = on_kafka.answer(FEATURES, "--input", str(given))
    assert found["differences"] == []
    lanes = found["lanes"]
    assert [lane["lane"] for lane in lanes if lane["compared"] < 30] == []
    assert sum(lane["dead"] for lane in lanes) > 500
    assert on_kafka.left() == []


def test_made_up_records_can_be_kept_and_given_again(on_kafka: Folder) -> None:
    first = on_kafka.answer("small.py", "--records", "300", "--record", "kept.ndjson")
    again = on_kafka.answer("small.py", "--input", "kept.ndjson")
    assert first["equal"]
    assert first == again
    assert compared(first)["orders@warehouse"] > 200


def test_what_the_topics_hold_can_be_taken(on_kafka: Folder, topic_name: str) -> None:
    program = on_kafka.path / "small.py"
    program.write_text(SMALL.replace('"orders", Order', f'"{topic_name}", Order'))
    values = [json.dumps({"id": n, "total": n}).encode() for n in range(20)]
    clients.produce(on_kafka.urls["log"], topic_name, [*values, b"{"])
    found = on_kafka.answer(program, "--held")
    assert found["inputs"] == {topic_name: 21}
    assert compared(found) == {"taxed@log": 20, "orders@warehouse": 20, "all@serving": 20}


def test_a_folder_of_lines_is_an_input(on_kafka: Folder) -> None:
    (on_kafka.path / "given").mkdir()
    lines = [json.dumps({"id": n, "total": n}) for n in range(30)]
    (on_kafka.path / "given" / "orders.ndjson").write_text("\n".join(lines) + "\n")
    found = on_kafka.answer("small.py", "--input", "given")
    assert found["inputs"] == {"orders": 30}
    assert compared(found)["orders@warehouse"] == 30


def test_a_map_that_gives_something_else_is_found(on_kafka: Folder) -> None:
    program = on_kafka.path / "small.py"
    program.write_text(SMALL.replace('"RATE"', '"PENSTOCK_REFERENCE"'))
    found = on_kafka.answer(program, "--records", "100", code=1)
    assert {lane["lane"] for lane in found["lanes"] if lane["different"]} == {
        "taxed@log",
        "orders@warehouse",
        "all@serving",
    }
    one = found["differences"][0]
    assert (one["lane"], one["kind"]) == ("taxed@log", "record")
    first, second = (json.loads(one[side])["total"] for side in ("first", "second"))
    assert first * 2 == second
    said, _ = on_kafka.ended(on_kafka.parity(program, "--records", "100"), 1)
    assert b"NOT equal" in said
    assert b"lane taxed@log, record, partition" in said


MERGED = (
    SMALL[: SMALL.index("orders = ")]
    + """
web = pipeline.topic("web", Order).map(taxed, Order)
app = pipeline.topic("app", Order)
orders = web.merge(app).topic("orders", partitions=2)
orders.sink("orders", store="warehouse")
orders.sink("all", store="serving", mode="append")
"""
)


def test_streams_that_are_merged_are_compared(on_kafka: Folder) -> None:
    (on_kafka.path / "given").mkdir()
    for log, first in (("web", 0), ("app", 300)):  # 50 keys are in both
        rows = [{"id": first + n % 350, "total": n} for n in range(700)]
        lines = "\n".join(map(json.dumps, rows))
        (on_kafka.path / "given" / f"{log}.ndjson").write_text(lines)
    program = on_kafka.path / "merged.py"
    program.write_text(MERGED)
    found = on_kafka.answer(program, "--input", "given")
    assert compared(found)["orders@log"] == compared(found)["all@serving"] == 1400
    assert compared(found)["orders@warehouse"] >= 600
    assert all("keys come from several streams" in words for words in found["notes"])
    program.write_text(MERGED.replace('"RATE"', '"PENSTOCK_REFERENCE"'))
    wrong = on_kafka.answer(program, "--input", "given", code=1)
    assert {lane["lane"]: lane["different"] for lane in wrong["lanes"]}[
        "orders@log"
    ] == 699  # 0 stays 0


def test_a_doctored_row_is_found(on_kafka: Folder) -> None:
    program = on_kafka.path / "small.py"
    lines = [json.dumps({"id": n, "total": n}) for n in range(30)]
    (on_kafka.path / "orders").mkdir()
    (on_kafka.path / "orders" / "orders.txt").write_text("\n".join(lines))
    # The second run's child ends here, and what it wrote is changed before it is compared.
    program.write_text(SMALL + DOCTOR)
    found = on_kafka.answer(program, "--input", "orders", code=1, DOCTORED=on_kafka.urls["home"])
    assert [(one["lane"], one["kind"], one["where"]) for one in found["differences"]] == [
        ("orders@warehouse", "row", "key 7"),
        ("all@serving", "row", found["differences"][1]["where"]),
    ]


DOCTOR = """
import atexit, psycopg
from penstock.profile import load

def doctor():
    stores = load(name="test").stores
    with psycopg.connect(stores["warehouse"].url.partition("&schema")[0]) as session:
        session.execute("UPDATE warehouse.orders SET total = total + 1 WHERE id = 7")
        session.execute("DELETE FROM serving.all WHERE id = 8")

if os.environ.get("PENSTOCK_REFERENCE") == "":
    atexit.register(doctor)
"""


def test_wrong_use_is_told(on_kafka: Folder) -> None:
    (on_kafka.path / "bad.ndjson").write_text('{"log": "orders", "value": 7}\n')
    (on_kafka.path / "other.ndjson").write_text('{"log": "others", "value": "7"}\n')
    for words in (
        ["--input", "bad.ndjson"],
        ["--input", "other.ndjson"],
        ["--input", "none.ndjson"],
        ["--held", "--input", "bad.ndjson"],
        ["--records", "0"],
    ):
        on_kafka.ended(on_kafka.parity("small.py", *words), 2)


def test_a_system_that_is_away_is_told(on_kafka: Folder) -> None:
    on_kafka.urls["log"] = "kafka://127.0.0.1:9"
    on_kafka.settle()
    on_kafka.ended(on_kafka.parity("small.py", "--records", "10"), 3)


def started(run: psutil.Process) -> bool:
    """Whether Spark's driver runs."""
    return any("java" in child.name() for child in run.children(recursive=True))


@pytest.mark.parametrize(
    ("number", "settings"),
    [(signal.SIGINT, ""), (signal.SIGTERM, SPARK)],
    ids=["SIGINT", "SIGTERM-spark"],
)
def test_nothing_is_left_after_a_signal(
    request: pytest.FixtureRequest, on_kafka: Folder, number: signal.Signals, settings: str
) -> None:
    if settings:
        request.getfixturevalue("spark")
    on_kafka.settle(settings)
    process = on_kafka.parity("small.py", "--records", "200")
    assert process.stderr
    for line in process.stderr:
        if b"running on test" in line:
            break
    run = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while not (started(run) if settings else on_kafka.left()):
        assert time.monotonic() < deadline
    children = run.children(recursive=True)
    process.send_signal(number)
    on_kafka.ended(process, 128 + number)
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert on_kafka.left() == []
