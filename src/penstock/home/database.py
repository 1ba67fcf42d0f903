"""Home's connection: opened, migrated by version, used in short transactions.

Every function of this package takes the cursor of such a transaction, so that what must happen
together is called together:

    with home.transaction() as cursor:
        ledger.close(cursor, closings)
        batches.close(cursor, batch)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, LiteralString

import psycopg

from penstock.errors import Refused, Unavailable
from penstock.postgresql import connection, stalls

Cursor = psycopg.Cursor[tuple[Any, ...]]
"""A cursor inside a transaction on home."""

_MIGRATION_LOCK = 0x70656E73746F636B  # "penstock"


class Home:
    """Where Penstock keeps what it must remember; one connection, usable from any thread.

    Transactions of several threads follow one another, so they must be short; one begun inside
    another is a part of it. The leases of a process belong to the session of the `Home` that took
    or renewed them last: use one `Home` for all leases of a process.

    Args:
        url: A PostgreSQL URL. Its role needs CREATE on the database, or on a schema `penstock`
            made for it.
        name: Who connects; the server shows it as `penstock:<name>`.

    Example:
        >>> with Home(url) as home, home.transaction() as cursor:
        ...     held = leases.holders(cursor, "users")
    """

    def __init__(self, url: str, *, name: str = "home") -> None:
        self.url = url
        self._name = name
        self._lock = threading.RLock()
        self._connection: psycopg.Connection | None = None

    def open(self) -> None:
        """Connect and bring home's tables to this version's state.

        Call it again after `Unavailable`: it drops what is left of the old session and connects
        anew. Leases of the old session are then free for others until they are renewed.

        Raises:
            Unavailable: The server is away.
            Refused: Home was made by a newer Penstock, or the role may not create its tables.
        """
        with self._lock:
            self._disconnect()
            session = connection.connect(self.url, name=self._name)
            try:
                with connection.errors(), stalls.attended(self.url):
                    session.execute("SET statement_timeout = '120s'")
                    _migrate(session)
            except BaseException:
                session.close()
                raise
            self._connection = session

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Cursor]:
        """Begin a transaction and commit it at the end of the block.

        Args:
            durable: False when a crash of the server may undo it within its first second, since
                the next start would do it again (the ledger's close): no waiting for the disk.

        Raises:
            Unavailable: The session is lost, or was never opened. Nothing is known of the commit
                then; `open` connects again.
            Refused: The server's answer is a final no.
        """
        with self._lock:
            session = self._connection
            if session is None or session.closed:
                raise Unavailable("home is not connected. Open it again.")
            with connection.errors(), session.transaction(), session.cursor() as cursor:
                if not durable:
                    cursor.execute("SET LOCAL synchronous_commit = off")
                yield cursor

    @property
    def connected(self) -> bool:
        """Whether there is a session, as far as this side knows."""
        return self._connection is not None and not self._connection.closed

    def close(self) -> None:
        """Leave; leases that were not released are free at once, since their session ends."""
        with self._lock:
            self._disconnect()

    def __enter__(self) -> Home:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def versions() -> list[LiteralString]:
    """List the migrations, oldest first; a home's version is how many of them it has had."""
    folder = resources.files(__package__) / "migrations"
    return [file.read_text() for file in sorted(folder.iterdir(), key=lambda f: f.name)]


def preview(url: str) -> list[str]:
    """Say what `Home.open` would create or change, one sentence each; writes nothing.

    Args:
        url: A PostgreSQL URL.

    Raises:
        Unavailable: The server is away.
        Refused: Home was made by a newer Penstock.
    """
    with connection.connect(url, name="check") as session, connection.errors():
        found = _version(session)
    if not found:
        return ["creates home's tables in the schema penstock"]
    if found < len(versions()):
        return [f"migrates home's tables from version {found} to {len(versions())}"]
    return []


def _migrate(session: psycopg.Connection) -> None:
    with session.transaction():
        session.execute("SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
        # Whoever starts first migrates; the others wait here and find it done.
        session.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        found = _version(session)
        if not found:
            _begin(session)
        for migration in versions()[found:]:
            session.execute(migration)
        if found < len(versions()):
            session.execute("UPDATE penstock.meta SET version = %s", [len(versions())])


def _version(session: psycopg.Connection) -> int:
    """Tell home's version, 0 when there is none; refuse one that this code does not know."""
    if not _exists(session, "SELECT to_regclass('penstock.meta')"):
        return 0
    row = session.execute("SELECT version FROM penstock.meta").fetchone()
    if row is None:
        raise Refused("home's table penstock.meta is empty: restore it, or name another home.")
    if row[0] > len(versions()):
        raise Refused(
            f"home has version {row[0]} of its tables, this Penstock knows {len(versions())}. "
            "Upgrade Penstock, or name another home in the profile."
        )
    return int(row[0])


def _begin(session: psycopg.Connection) -> None:
    # IF NOT EXISTS alone would ask for the right to create even where the schema is there.
    if not _exists(session, "SELECT to_regnamespace('penstock')"):
        session.execute("CREATE SCHEMA IF NOT EXISTS penstock")
    session.execute("CREATE TABLE penstock.meta (version int NOT NULL)")
    session.execute("INSERT INTO penstock.meta VALUES (0)")


def _exists(session: psycopg.Connection, question: LiteralString) -> bool:
    row = session.execute(question).fetchone()
    return row is not None and row[0] is not None
