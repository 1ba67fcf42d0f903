"""Changes of PostgreSQL into a topic, beside what `pg_recvlogical` does with the same slot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.site import site
from benchmarks.suite import Result
from penstock.services import postmaster
from penstock.services.postgresql import EmbeddedPostgresql

IN_ONE = 1000
"""Changes in a transaction."""

_TABLE = """
    CREATE TABLE users (id uuid PRIMARY KEY, first_name text, last_name text, gender text,
        address text, post_code text, email text, username text, dob timestamptz,
        registered_date timestamptz, phone text, picture text);
    CREATE PUBLICATION shop FOR TABLE users
"""

_INSERT = """
    INSERT INTO users SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
        'first ' || i, 'last ' || i, 'female', repeat('address ', 10), 'A' || i,
        i || '@example.org', 'user' || i, '1980-01-01 00:00:00+00', now(), '+44 ' || i,
        repeat('picture/', 12)
    FROM generate_series(%s::int, %s) i
"""

_UPDATE = """
    UPDATE users SET phone = phone || '0' WHERE id IN (
        SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid
        FROM generate_series(%s::int, %s) i)
"""


def into_a_topic(count: int) -> Iterator[Result]:
    """Half inserts, half updates, waiting in a slot; then into a topic of two partitions."""
    with site() as here:
        shop = EmbeddedPostgresql(here.folder / "shop")
        shop.cluster = replace(shop.cluster, settings={"wal_level": "logical"})
        with shop.session() as url:
            _run(url, _TABLE)
            here.pipeline("changes", "--until-idle", SHOP=url)
            _run(url, "SELECT pg_create_logical_replication_slot('floor', 'pgoutput')")
            _change(url, count // 2)
            floor = count / _received(url, here.folder)
            yield Result("floor: pg_recvlogical, the same changes", floor, "changes/s")
            _, said = here.pipeline("changes", "--until-idle", SHOP=url)
            (lane,) = said["lanes"]
            if lane["counts"]["written"] != count:
                raise AssertionError(f"{count} changes were made: {said}")
            rate = count / said["seconds"]
            note = f"{rate / floor:.2f} × pg_recvlogical; start included"
            yield Result("PostgreSQL's changes → landing → topic", rate, "changes/s", note)


def parts(quick: bool) -> Mapping[str, Callable[[], Iterator[Result]]]:
    """The parts by name."""
    return {"changes": lambda: into_a_topic(50_000 if quick else 400_000)}


def _change(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        for statement in (_INSERT, _UPDATE):
            for first in range(0, rows, IN_ONE):
                session.execute(statement, (first, first + IN_ONE - 1))


def _received(url: str, folder: Path) -> float:
    """Seconds that PostgreSQL's own client takes to write the changes to a file."""
    with psycopg.connect(url, autocommit=True) as session:
        [(end,)] = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()
    command = [str(postmaster.binaries() / "pg_recvlogical"), "-d", url, "--slot", "floor"]
    command += ["--start", "--endpos", end, "-f", str(folder / "received"), "--no-loop"]
    command += ["-o", "proto_version=1", "-o", "publication_names=shop"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(sql.SQL(statement))
