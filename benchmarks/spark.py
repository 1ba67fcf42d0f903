"""Work on Spark: through the plan, into PostgreSQL and Cassandra, and what a micro-batch costs.

Beside it stand Spark's own `from_json` and JDBC on the same topic, and the floors of the stores.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import floor_cassandra, floors, scaling, suite
from benchmarks.cluster import Cluster, cluster
from benchmarks.measure import Run
from benchmarks.records import TABLE_COLUMNS
from benchmarks.stack import create, fill
from benchmarks.steady import Steady, steady
from benchmarks.suite import Result

TOPIC = "people"
LOCAL = "local[2]"
TWO = "local-cluster[2,1,1024]"

WARM = 8.0
"""Seconds in which a new JVM compiles itself: no part of what is called steady."""

BURST = 1_000
FLOOR = 300_000
TINY = 200
"""Records of a tiny micro-batch."""


def nowhere(rows: int, with_peers: bool) -> Iterator[Result]:
    """Decode, check and map, write nothing; beside Spark's own way to do it."""
    with cluster() as here:
        _filled(here, rows)
        took, found = _moved(here, "spark_nowhere", LOCAL, rows, "filtered")
        yield _rate(f"Kafka → plan → nowhere, {LOCAL}", took, found, rows)
        if with_peers:
            yield _peer(here, "noop", took, found, rows)


def append(rows: int, with_peers: bool) -> Iterator[Result]:
    """Kafka to a table, append, beside Spark's JDBC and the floor."""
    with cluster() as here:
        floor = _floor(here, "floor: raw binary COPY", floors.copy_rate)
        yield floor
        _filled(here, rows)
        took, found = _moved(here, "kafka_append", LOCAL, rows)
        beside = f"{found.rate / floor.value:.2f} × {floor.name}; "
        yield _rate(f"Kafka → PostgreSQL, append, {LOCAL}", took, found, rows, beside)
        if with_peers:
            with psycopg.connect(here.url, autocommit=True) as connection:
                connection.execute(f"CREATE TABLE peer ({TABLE_COLUMNS})")
            yield _peer(here, "jdbc", took, found, rows)


def upsert(rows: int) -> Iterator[Result]:
    """Kafka to a table, upsert by a random UUID, on two executors; beside the floor."""
    with cluster() as here:
        name = "floor: COPY and INSERT … ON CONFLICT … WHERE"
        floor = _floor(here, name, floors.upsert_rate)
        yield floor
        _filled(here, rows)
        took, found = _moved(here, "kafka_upsert", TWO, rows)
        beside = f"{found.rate / floor.value:.2f} × {floor.name}; "
        yield _rate(f"Kafka → PostgreSQL, upsert, {TWO}", took, found, rows, beside)


def cassandra(rows: int) -> Iterator[Result]:
    """Kafka to Cassandra, beside the best of a bare loop of the driver."""
    with cluster("cassandra") as here:
        address, count = here.stack.cassandra, min(rows, 100_000)
        floor_cassandra.rates(address, count // 2)  # the server gets warm
        _filled(here, rows)
        before = floor_cassandra.rates(address, count)
        took, found = _moved(here, "kafka_cassandra", LOCAL, rows)
        after = floor_cassandra.rates(address, count)
        floor = max(*before.values(), *after.values())
        yield Result("floor: bare loop of the driver", floor, "rows/s")
        beside = f"{found.rate / floor:.2f} × floor: bare loop of the driver; "
        yield _rate(f"Kafka → Cassandra, {LOCAL}", took, found, rows, beside)


def latency(seconds: int) -> Iterator[Result]:
    """A burst of 1,000 records each second, from Kafka to visible in PostgreSQL."""
    with cluster() as here:
        create(here.stack.kafka, "trickle", 2)
        producer = _bursting(here.stack.kafka, "trickle", BURST, seconds)
        try:
            here.pipeline("spark_bursts", LOCAL, "--for", f"{seconds}s")
        finally:
            producer.terminate()
            producer.wait()
        (steadily,) = suite.steady_latencies(here.url, seconds // 3)
    note = (
        f"one each second, {LOCAL}; {steadily.total:,} records, without the first {seconds // 3} s"
    )
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        found = (steadily.percentile(share) or 0.0) * 1000
        words = f"micro-batches of {BURST:,} records, written to Kafka → visible, {name}"
        yield Result(words, found, "ms", note)


def tiny(batches: int) -> Iterator[Result]:
    """What a micro-batch costs that holds almost nothing, on 2 and on 200 partitions."""
    with cluster() as here:
        for partitions in (2, 200):
            topic = f"tiny{partitions}"
            create(here.stack.kafka, topic, partitions)
            fill(here.stack.kafka, topic, batches * TINY)
            here.pipeline(
                "spark_tiny",
                LOCAL,
                "--until-idle",
                spark={"records": TINY, "trigger": "1ms"},
                TOPIC=topic,
            )
            found = steady(here.url, "spark_tiny", WARM)
            note = (
                f"{TINY} records each, median of its opening to its close "
                f"{found.took * 1000:.0f} ms; {len(found.batches)} of them one after the other"
            )
            name = f"fixed cost of a micro-batch, {partitions} partitions, {LOCAL}"
            yield Result(name, found.period * 1000, "ms", note)
            with psycopg.connect(here.url, autocommit=True) as connection:
                connection.execute("TRUNCATE penstock.ledger")  # the next one's is read alone


def parts(quick: bool, with_peers: bool) -> Mapping[str, Callable[[], Iterator[Result]]]:
    """The parts by name."""
    rows = 200_000 if quick else 1_000_000
    return {
        "spark-nowhere": lambda: nowhere(rows, with_peers),
        "spark-append": lambda: append(rows, with_peers),
        "spark-upsert": lambda: upsert(rows),
        "spark-cassandra": lambda: cassandra(rows * 3 // 10),
        "spark-latency": lambda: latency(40 if quick else 75),
        "spark-tiny": lambda: tiny(40 if quick else 100),
        "scaling": lambda: scaling.measure(100_000 if quick else 300_000),
    }


def _floor(here: Cluster, name: str, rate: Callable[[str, Sequence[bytes], int], float]) -> Result:
    blocks = floors.binary_batches(here.url, FLOOR)
    return Result(name, rate(here.url, blocks, FLOOR), "rows/s", f"{FLOOR:,} rows")


def _filled(here: Cluster, rows: int, partitions: int = 2) -> None:
    create(here.stack.kafka, TOPIC, partitions)
    fill(here.stack.kafka, TOPIC, rows)


def _moved(
    here: Cluster, program: str, engine: str, rows: int, became: str = "written"
) -> tuple[Run, Steady]:
    took, said = here.pipeline(program, engine, "--until-idle")
    (lane,) = said["lanes"]
    if lane["counts"][became] != rows:
        raise AssertionError(f"{lane['lane']} says {lane['counts']} of {rows} rows")
    return took, steady(here.url, program, WARM)


def _rate(name: str, took: Run, found: Steady, rows: int, beside: str = "") -> Result:
    note = (
        f"{beside}micro-batches of {found.records // len(found.batches):,}; "
        f"{rows / took.seconds:,.0f}/s with start and end of everything, {rows:,} records"
    )
    return Result(name, found.rate, "records/s", note)


def _peer(here: Cluster, way: str, ours: Run, found: Steady, rows: int) -> Result:
    """Run Spark's own way; the second pass, on a warm JVM, is its rate."""
    _, said = here.peer(LOCAL, TOPIC, way)
    rates = [_expected(one, rows) / one["seconds"] for one in said["passes"]]
    words = {"noop": "from_json → noop", "jdbc": "from_json → JDBC, at least once"}[way]
    note = (
        f"ours is {found.rate / rates[-1]:.2f} × this, both warm; {rates[0]:,.0f}/s in a new JVM, "
        f"its start not counted; ours with all starts {rows / ours.seconds:,.0f}/s"
    )
    return Result(
        f"Spark {said['version']}: Kafka → {words}, {LOCAL}", rates[-1], "records/s", note
    )


def _expected(one: Mapping[str, Any], rows: int) -> int:
    if one["rows"] != rows:
        raise AssertionError(f"Spark's own way read {one['rows']} of {rows} records")
    return rows


def _bursting(kafka: str, topic: str, size: int, seconds: int) -> subprocess.Popen[bytes]:
    """Write a burst each second, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stack", "burst", kafka, topic, str(size)]
    here = Path(__file__).parent.parent
    return subprocess.Popen([*command, str(seconds)], cwd=here, stdout=subprocess.DEVNULL)
