"""The floor of Cassandra: a bare loop of the same driver, unlogged batches of prepared inserts."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from cassandra import ConsistencyLevel, ProtocolVersion
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.query import BatchStatement, BatchType

from benchmarks.records import COLUMNS, records
from benchmarks.stack import KEYSPACE

SIZES = (20, 50, 100)
"""Inserts in a batch; with 300 of these rows the server refuses it."""

IN_FLIGHT = 32

_TABLE = """
    CREATE TABLE IF NOT EXISTS floor (uid uuid PRIMARY KEY, first_name text, last_name text,
    gender text, address text, post_code text, email text, username text, dob timestamp,
    registered_date timestamp, phone text, picture text)
"""


def rates(address: str, count: int) -> dict[int, float]:
    """Rows/s for each size of batch, `count` rows each, made into Python values before.

    0 where the server gave an error. Call it twice: a server that has just started is slow.
    """
    host, _, port = address.rpartition(":")
    profile = ExecutionProfile(consistency_level=ConsistencyLevel.LOCAL_QUORUM, request_timeout=60)
    cluster = Cluster(
        [host],
        port=int(port),
        protocol_version=ProtocolVersion.V5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        session = cluster.connect()
        session.execute(
            f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.set_keyspace(KEYSPACE)
        session.execute(_TABLE)
        rows = [_values(record) for record in records(count, key="uid")]
        return {size: _rate(session, rows, size) for size in SIZES}
    finally:
        cluster.shutdown()


def _values(record: dict[str, str]) -> tuple[Any, ...]:
    values: dict[str, Any] = dict(record)
    values["uid"] = UUID(record["uid"])
    for name in ("dob", "registered_date"):
        values[name] = datetime.fromisoformat(record[name])
    return tuple(values.values())


def _rate(session: Session, rows: Sequence[tuple[Any, ...]], size: int) -> float:
    names = ", ".join(("uid", *COLUMNS[1:]))
    marks = ", ".join("?" * len(COLUMNS))
    insert = session.prepare(f"INSERT INTO floor ({names}) VALUES ({marks}) USING TIMESTAMP ?")
    room, failures = threading.Semaphore(IN_FLIGHT), list[BaseException]()

    def failed(error: BaseException) -> None:
        failures.append(error)
        room.release()

    started = time.perf_counter()
    for start in range(0, len(rows), size):
        batch = BatchStatement(BatchType.UNLOGGED)
        for number, row in enumerate(rows[start : start + size], start):
            batch.add(insert, (*row, number + 1))
        room.acquire()
        session.execute_async(batch).add_callbacks(lambda _: room.release(), failed)
    for _ in range(IN_FLIGHT):
        room.acquire()
    # A loop that does not try again has no rate when the server was too slow for it.
    return 0.0 if failures else len(rows) / (time.perf_counter() - started)
