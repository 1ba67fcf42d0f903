"""The floors: what PostgreSQL alone does with the same rows, fed from memory by one connection."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import psycopg

from benchmarks.records import COLUMNS, TABLE_COLUMNS, records

BATCH = 20_000


def binary_batches(url: str, count: int) -> list[bytes]:
    """Return the rows as blocks of PostgreSQL's binary COPY format, `BATCH` rows each."""
    names = ", ".join(("uid", *COLUMNS[1:]))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS floor_rows")
        connection.execute(f"CREATE UNLOGGED TABLE floor_rows (n serial, {TABLE_COLUMNS})")
        with connection.cursor().copy(f"COPY floor_rows ({names}) FROM STDIN") as copy:
            for record in records(count, key="uid"):
                copy.write_row(tuple(record.values()))
        blocks = []
        for start in range(0, count, BATCH):
            query = (
                f"COPY (SELECT {names} FROM floor_rows WHERE n > {start} AND n <= {start + BATCH})"
                " TO STDOUT (FORMAT binary)"
            )
            with connection.cursor().copy(query) as copy:
                blocks.append(b"".join(bytes(part) for part in copy))
        connection.execute("DROP TABLE floor_rows")
    return blocks


def copy_rate(url: str, blocks: Sequence[bytes], count: int) -> float:
    """Rows/s of raw binary COPY into a plain table, one transaction for each block."""
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS floor")
        connection.execute(f"CREATE TABLE floor ({TABLE_COLUMNS})")
        connection.commit()
        started = time.perf_counter()
        for block in blocks:
            _copy(connection, "COPY floor FROM STDIN (FORMAT binary)", block)
            connection.commit()
        seconds = time.perf_counter() - started
        _expect(connection, count)
    return count / seconds


def upsert_rate(url: str, blocks: Sequence[bytes], count: int) -> float:
    """Rows/s of COPY to a temporary table and one INSERT … ON CONFLICT … WHERE for each block."""
    names = ", ".join(("uid", *COLUMNS[1:]))
    sets = ", ".join(f"{name} = excluded.{name}" for name in (*COLUMNS[1:], "_order"))
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS floor")
        connection.execute(
            f"CREATE TABLE floor ({TABLE_COLUMNS}, _order bigint NOT NULL, PRIMARY KEY (uid))"
        )
        connection.execute(f"CREATE TEMP TABLE floor_stage ({TABLE_COLUMNS})")
        connection.commit()
        started = time.perf_counter()
        for number, block in enumerate(blocks):
            connection.execute("TRUNCATE floor_stage")
            _copy(connection, "COPY floor_stage FROM STDIN (FORMAT binary)", block)
            connection.execute(
                f"INSERT INTO floor ({names}, _order) SELECT {names}, %s FROM floor_stage"
                f" ON CONFLICT (uid) DO UPDATE SET {sets} WHERE floor._order < excluded._order",
                (number,),
            )
            connection.commit()
        seconds = time.perf_counter() - started
        _expect(connection, count)
    return count / seconds


def _copy(connection: psycopg.Connection, query: str, block: bytes) -> None:
    with connection.cursor().copy(query) as copy:
        for part in _parts(block):
            copy.write(part)


def _parts(block: bytes, size: int = 1 << 17) -> Iterator[memoryview]:
    view = memoryview(block)
    return (view[start : start + size] for start in range(0, len(view), size))


def _expect(connection: psycopg.Connection, count: int) -> None:
    found = connection.execute("SELECT count(*) FROM floor").fetchone()
    if found != (count,):
        raise AssertionError(f"the floor wrote {found} of {count} rows")
    connection.execute("DROP TABLE floor")
