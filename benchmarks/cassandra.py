"""How near the Cassandra sink comes to a bare loop of the same driver, in the same run.

    python -m benchmarks.cassandra --rows 100000 --url cassandra://127.0.0.1:9042

The bare loop binds prepared inserts into unlogged batches, as the driver's documentation has it,
and keeps as many on their way as the sink does; the best of several sizes of batch counts. It
writes neither order stamps nor progress. Rounds of both alternate; medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import polars as pl
from cassandra.cluster import Cluster
from cassandra.query import BatchStatement, BatchType

from benchmarks.records import COLUMNS
from benchmarks.sink_postgresql import User, frames
from penstock import contract as ps
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import Counts, LaneKey, Progress, Step
from penstock.sinks.cassandra import CassandraSink
from penstock.sinks.cassandra.sender import IN_FLIGHT

KEYSPACE = "penstock_benchmark"
SIZES = (16, 32, 64, 80)
ROUNDS = 3

Rate = tuple[float, float]
"""Rows per second, and microseconds of this process's CPU per row."""


class Bare:
    """The loop that anybody would write."""

    def __init__(self, session: Any, batches: Sequence[pl.DataFrame]) -> None:
        self._session = session
        self._rows = [
            (UUID(row[0]), *row[1:])
            for frame in batches
            for row in frame.select(COLUMNS).iter_rows()
        ]

    def rate(self, size: int) -> Rate:
        types = ", ".join(f"{n} {'timestamp' if n in _DATES else 'text'}" for n in COLUMNS[1:])
        self._session.execute(f"DROP TABLE IF EXISTS {KEYSPACE}.bare")
        self._session.execute(f"CREATE TABLE {KEYSPACE}.bare (id uuid PRIMARY KEY, {types})")
        marks = ", ".join("?" * len(COLUMNS))
        insert = self._session.prepare(
            f"INSERT INTO {KEYSPACE}.bare ({', '.join(COLUMNS)}) VALUES ({marks})"
        )
        room, errors = threading.Semaphore(IN_FLIGHT), list[Exception]()

        def failed(error: Exception) -> None:
            errors.append(error)
            room.release()

        watch = _Watch()
        for start in range(0, len(self._rows), size):
            batch = BatchStatement(BatchType.UNLOGGED)
            for row in self._rows[start : start + size]:
                batch.add(insert, row)
            room.acquire()
            future = self._session.execute_async(batch)
            future.add_callbacks(lambda _: room.release(), failed)
        for _ in range(IN_FLIGHT):
            room.acquire()
        if errors:
            raise errors[0]
        return watch.rate(len(self._rows))


_DATES = ("dob", "registered_date")


def sink_rate(url: str, session: Any, batches: Sequence[pl.DataFrame]) -> Rate:
    """Rate of the sink, from frames in memory to written rows with their progress."""
    session.execute(f"DROP TABLE IF EXISTS {KEYSPACE}.users")
    session.execute(f"DROP TABLE IF EXISTS {KEYSPACE}.penstock_progress")
    spec = ps.spec(User)
    lane = Lane("users", "serving", "users", "upsert", spec, spec.key, 1, None, "", 0)
    store = Store("serving", f"{url}/{KEYSPACE}")
    sink = CassandraSink(store, lane, LaneKey("benchmark", "log", "segment", "users"))
    sink.open()
    stands = sink.claim({0: 1})[0]
    watch = _Watch()
    for batch in batches:
        stands = sink.commit([sink.stage(batch)], {0: _step(stands, batch.height)})[0]
    rate = watch.rate(stands.next)
    sink.close()
    if stands.totals.written != stands.next:
        raise AssertionError(f"the sink wrote {stands.totals.written} of {stands.next} rows")
    return rate


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--url", default="cassandra://127.0.0.1:9042")
    options = parser.parse_args()
    batches = frames(options.rows)
    place = urlsplit(options.url)
    cluster = Cluster([place.hostname], port=place.port or 9042)
    session = cluster.connect()
    session.default_timeout = 60
    session.execute(
        f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    bare = Bare(session, batches)
    rates: dict[str, list[Rate]] = {}
    for _ in range(ROUNDS):
        for size in SIZES:
            rates.setdefault(f"bare loop, batches of {size}", []).append(bare.rate(size))
        rates.setdefault("sink", []).append(sink_rate(options.url, session, batches))
    session.execute(f"DROP KEYSPACE {KEYSPACE}")
    cluster.shutdown()
    medians = {name: statistics.median(r for r, _ in found) for name, found in rates.items()}
    for name, found in rates.items():
        cpu = statistics.median(c for _, c in found)
        print(f"{name:28} {medians[name]:10,.0f} rows/s {cpu:6.1f} µs of CPU per row")
    best = max(rate for name, rate in medians.items() if name != "sink")
    print(f"sink / best bare loop: {medians['sink'] / best:.2f}")


class _Watch:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rate(self, rows: int) -> Rate:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return rows / wall, cpu / rows * 1e6


def _step(stands: Progress, rows: int) -> Step:
    totals = stands.totals + Counts(records=rows)
    return Step(stands, Progress(stands.next + rows, stands.epoch, totals))


if __name__ == "__main__":
    main()
