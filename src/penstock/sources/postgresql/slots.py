"""What a reader of changes asks the catalog: can it start, what of the slot, what has changed."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from penstock.errors import Refused, Unavailable
from penstock.postgresql import connection
from penstock.sources.postgresql.standing import lsn_number
from penstock.sources.postgresql.transactions import AGAIN

if TYPE_CHECKING:
    from penstock.sources.postgresql.session import Session
    from penstock.sources.postgresql.tables import Table

_SERVER = """
    SELECT pg_is_in_recovery(), current_setting('server_version_num')::int,
        current_setting('wal_level'), current_setting('max_replication_slots')::int,
        (SELECT count(*) FROM pg_replication_slots),
        current_setting('max_slot_wal_keep_size') = '-1',
        pg_encoding_to_char(encoding)
    FROM pg_database WHERE datname = current_database()
"""

_SLOT = """
    SELECT plugin::text, database::text = current_database(), active_pid, wal_status,
        confirmed_flush_lsn::text,
        coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn), 0)::bigint,
        safe_wal_size
    FROM pg_replication_slots WHERE slot_name = %s
"""

_PUBLICATION = """
    SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, p.pubviaroot,
        p.oid::text || ' ' || p.xmin::text, t.attnames::text[], t.rowfilter,
        (SELECT string_agg(r.oid::text, ',' ORDER BY r.oid) FROM pg_publication_rel r
            WHERE r.prpubid = p.oid AND r.prrelid = %s)
    FROM pg_publication p LEFT JOIN pg_publication_tables t
        ON t.pubname = p.pubname AND t.schemaname = %s AND t.tablename = %s
    WHERE p.pubname = %s
"""

OLDEST = 150_000
_PATIENCE = 5.0
_STEP = 0.02


@dataclass(frozen=True)
class Slot:
    """A slot: who reads it, where it stands, and how many bytes of WAL it holds.

    `safe`: how many bytes more until the server gives it up; None when it never does.
    """

    plugin: str
    here: bool
    pid: int | None
    status: str
    confirmed: int
    held: int
    safe: int | None


@dataclass(frozen=True)
class Published:
    """What a publication sends of a table: its columns, which rows, and a fingerprint of that."""

    columns: tuple[str, ...]
    rows: str | None
    fingerprint: str


def server(session: Session) -> list[str]:
    """Check the server; return what is worth a look.

    Raises:
        Refused: It cannot send changes.
        Unavailable: It is a standby at the moment.
    """
    with connection.errors():
        row = session.execute(_SERVER).fetchone()
    assert row is not None  # noqa: S101 - one row
    standby, version, level, most, taken, unbounded, encoding = row
    if version < OLDEST:
        raise Refused(f"changes need PostgreSQL 15 or later; this is {version // 10000}")
    if standby:
        raise Unavailable("this PostgreSQL is a standby; the URL must lead to the primary")
    if level != "logical":
        raise Refused(
            f"wal_level is {level!r}, changes need 'logical': ALTER SYSTEM SET wal_level = "
            "logical, then restart PostgreSQL"
        )
    if encoding == "SQL_ASCII":
        raise Refused("the database's encoding is SQL_ASCII, so nobody knows what its texts mean")
    notes = []
    if taken >= most:
        notes.append(
            f"all {most} replication slots are taken: raise max_replication_slots and restart"
        )
    if unbounded:
        notes.append(
            "max_slot_wal_keep_size is -1: while nobody runs the pipeline, its slot keeps WAL "
            "without bound and can fill the disk; set it, for example to '50GB'"
        )
    return notes


def find(session: Session, name: str) -> Slot | None:
    """Look a slot up; None when there is none."""
    with connection.errors():
        row = session.execute(_SLOT, (name,)).fetchone()
    if row is None:
        return None
    plugin, here, pid, status, confirmed, held, safe = row
    return Slot(plugin, here, pid, status, lsn_number(confirmed or "0/0"), held, safe)


def await_idle(session: Session, name: str) -> None:
    """Give the server a moment to notice that nobody reads a slot any more."""
    deadline = time.monotonic() + _PATIENCE
    while (slot := find(session, name)) and slot.pid and time.monotonic() < deadline:
        time.sleep(_STEP)


def drop(session: Session, name: str) -> None:
    """Remove a slot; nothing when there is none.

    Raises:
        Unavailable: Somebody reads it.
    """
    with connection.errors():
        session.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = %s",
            (name,),
        )


def removal(name: str) -> str:
    """The statement that removes a slot."""
    return f"SELECT pg_drop_replication_slot({sql.Literal(name).as_string(None)})"


def now(session: Session) -> int:
    """Where the WAL ends that is safe on the server's disk."""
    with connection.errors():
        row = session.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None  # noqa: S101 - one row
    return lsn_number(row[0])


def published(session: Session, publication: str, table: Table) -> Published:
    """Look up what a publication sends of a table.

    Raises:
        Refused: It sends too little, or is not there; the message says what to write.
    """
    values = (table.oid, table.schema, table.name, publication)
    with connection.errors():
        row = session.execute(_PUBLICATION, values).fetchone()
    name = sql.Identifier(publication).as_string(None)
    place = sql.Identifier(table.schema, table.name).as_string(None)
    if row is None:
        raise Refused(
            f"there is no publication {publication!r}; its owner makes it: "
            f"CREATE PUBLICATION {name} FOR TABLE {place}"
        )
    every, via_root, version, columns, rows, member = row
    if columns is None:
        root = " SET (publish_via_partition_root)" if table.kind == "p" and not via_root else ""
        cure = root or f" ADD TABLE {place}"
        raise Refused(
            f"the publication {publication!r} does not send the table {table.words}: "
            f"ALTER PUBLICATION {name}{cure}"
        )
    if not every:
        raise Refused(
            f"the publication {publication!r} leaves out some kinds of changes: ALTER PUBLICATION "
            f"{name} SET (publish = 'insert, update, delete, truncate')"
        )
    lacking = sorted(set(table.key) - set(columns))
    if lacking:
        raise Refused(
            f"the publication {publication!r} does not send {lacking[0]!r}, a part of the key"
        )
    said = f"{version} {member} {rows}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Published(tuple(columns), rows, digest)


def keyed(table: Table) -> list[str]:
    """Check that changes of a table tell which row they are of; return what is worth a look.

    Raises:
        Refused: They do not.
    """
    place = sql.Identifier(table.schema, table.name).as_string(None)
    if table.kind not in "rp":
        raise Refused(f"{table.words} is no table; only tables have changes")
    if table.identity == "n":
        raise Refused(
            f"the table {table.words} has REPLICA IDENTITY NOTHING, so its updates and deletes do "
            f"not say of which row they are: ALTER TABLE {place} REPLICA IDENTITY DEFAULT"
        )
    if not table.key:
        raise Refused(
            f"the table {table.words} has no primary key, so its rows cannot be told apart: "
            f"ALTER TABLE {place} ADD PRIMARY KEY (…)"
        )
    large = [column.name for column in table.columns if column.large]
    if large and table.identity != "f":
        return [
            f"values of {', '.join(large)} above about 2 kB are not sent by updates that leave "
            "them alone; such an update is a dead letter if the contract names the column. To have "
            f"them sent: ALTER TABLE {place} REPLICA IDENTITY FULL"
        ]
    return []


def go_on(slot: Slot | None, name: str, landed: int) -> Slot:
    """Check that a slot is the one that was read, and goes on where the landing ends.

    Args:
        slot: As found.
        name: Its name.
        landed: Where the landing ends.

    Raises:
        Refused: It does not.
        Unavailable: Somebody else reads it at the moment.
    """
    if slot is None:
        raise Refused(
            f"there is no replication slot {name!r} any more: it was dropped, or the database was "
            f"restored or failed over without it, so changes are missing; {AGAIN}"
        )
    if slot.plugin != "pgoutput" or not slot.here:
        raise Refused(
            f"the slot {name!r} is of another plug-in or database; choose another name with slot="
        )
    if slot.status == "lost":
        raise Refused(
            f"the slot {name!r} has lost WAL that was not read yet (max_slot_wal_keep_size): "
            f"changes are missing; {AGAIN}: {removal(name)}"
        )
    if slot.pid is not None:
        raise Unavailable(
            f"the slot {name!r} is read by the server's process {slot.pid} for somebody else: "
            "another pipeline, or a run that has not ended; one slot has one reader"
        )
    if landed and slot.confirmed > landed:
        raise Refused(
            f"the slot {name!r} was advanced by somebody else, past changes that were not landed; "
            f"{AGAIN}: {removal(name)}"
        )
    return slot
