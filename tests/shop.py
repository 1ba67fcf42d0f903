"""A PostgreSQL that sends changes, and a database of it for each test: the source, not the home."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from penstock.interfaces import Attentive, Cursor, Response, Source
from penstock.services import postmaster
from penstock.services.postgresql import EmbeddedPostgresql
from penstock.testing.clock import ManualClock

SETTINGS = {"wal_level": "logical", "max_replication_slots": "50", "max_wal_senders": "50"}


class Shop:
    """A database that a source reads.

    Args:
        server: Its server, for those who kill it.
        url: Of the database.
    """

    def __init__(self, server: EmbeddedPostgresql, url: str) -> None:
        self.server = server
        self.url = url

    def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as session:
            for statement in statements:
                session.execute(sql.SQL(statement))

    def rows(self, query: str, given: Sequence[object] = ()) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as session:
            return session.execute(sql.SQL(query), given or None).fetchall()

    def slots(self) -> list[str]:
        query = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        return [name for (name,) in self.rows(query)]

    def orders(self, count: int = 0) -> None:
        """Make a table of orders, with so many rows, and the publication `shop`."""
        self.run(
            "CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL, price numeric)",
            "INSERT INTO orders SELECT i, 'item ' || i, i / 4.0"
            f" FROM generate_series(1, {count}) i",
            "CREATE PUBLICATION shop FOR TABLE orders",
        )

    def crash(self) -> None:
        """Kill the server at once, and start it again."""
        self.halt()
        self.server.ensure()

    def halt(self) -> None:
        process = postmaster.process(self.server.cluster)
        assert process is not None
        children = process.children()
        process.kill()
        process.wait()
        for child in children:
            child.wait(60)

    def drop(self) -> None:
        """Remove the slots and the database; whoever reads a slot is sent away."""
        for _ in range(600):
            left = self.rows(
                "SELECT slot_name, active_pid, pg_terminate_backend(active_pid)"
                " FROM pg_replication_slots WHERE database = current_database()"
            )
            if not left:
                break
            for name, pid, _ in left:
                if pid is None:
                    self.rows("SELECT pg_drop_replication_slot(%s)", (name,))
            time.sleep(0.05)
        name = urlsplit(self.url).path.removeprefix("/")
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.server.url, autocommit=True) as session:
            session.execute(drop)


def land(source: Source, cursor: Cursor = None) -> list[Response]:
    """Poll once to the end, and land everything."""
    taken = []
    for response in source.poll(cursor, ManualClock()):
        taken.append(response)
        if isinstance(source, Attentive):
            source.landed(response.cursor)
    if isinstance(source, Attentive):
        source.leave()
    return taken


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgresql]:
    """The server of all shops of this test session."""
    server = EmbeddedPostgresql(tmp_path_factory.mktemp("shops") / ".penstock")
    server.cluster = replace(server.cluster, settings=SETTINGS)
    with server.session():
        yield server


@pytest.fixture
def shop(shops: EmbeddedPostgresql) -> Iterator[Shop]:
    """A database that only this test uses, on a server that sends changes."""
    shops.ensure()
    name = f"shop_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(shops.url, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parts = urlsplit(shops.url)
    made = Shop(shops, parts._replace(path=f"/{name}").geturl())
    yield made
    shops.ensure()
    made.drop()
