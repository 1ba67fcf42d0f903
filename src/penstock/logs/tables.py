"""The tables behind PostgreSQL logs: installed, found, made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql

from penstock.errors import Refused
from penstock.postgresql import connection, progress

if TYPE_CHECKING:
    from penstock.pipeline import Retention

Kind = Literal["landing", "topic"]

SCHEMAS = {"landing": "landing", "topic": "topics"}

CHILD_ROWS = {"landing": 1 << 16, "topic": 1 << 20}
"""How many offsets one child table takes."""

NAME_LIMIT = 63
"""Bytes of the longest name that PostgreSQL keeps apart from others."""

_VIEWS = {
    "landing": """
        SELECT t.partition, t."offset", t.born, penstock.as_headers(t.headers) AS headers, j.body
        FROM {table} t CROSS JOIN LATERAL (SELECT penstock.as_json(t.value) AS body OFFSET 0) j
        WHERE j.body IS NOT NULL""",
    "topic": """
        SELECT t.partition, t."offset", t.born, penstock.as_text(t.key) AS key,
            penstock.as_json(t.value) AS value, t.value IS NULL AS deleted
        FROM {table} t""",
}


@dataclass(frozen=True)
class Entry:
    """A log as the registry `penstock.logs` knows it."""

    id: int
    log_id: str
    kind: Kind
    name: str
    pipeline: str | None

    @property
    def table(self) -> sql.Identifier:
        """The table that people read."""
        return sql.Identifier(SCHEMAS[self.kind], self.name)

    @property
    def channel(self) -> str:
        """The channel on which its readers are woken."""
        return f"penstock_log_{self.id}"


@dataclass(frozen=True)
class Wanted:
    """A log as a program declares it.

    Args:
        kind: Landing or topic.
        name: Its name, of at most 63 bytes.
        partitions: None takes what is there, or 1.
        retention: None keeps all, or what was set before.
        pipeline: Who owns a landing.
    """

    kind: Kind
    name: str
    partitions: int | None = None
    retention: Retention | None = None
    pipeline: str | None = None


def install(session: psycopg.Connection[Any]) -> None:
    """Create the registry and the functions where they are missing.

    Args:
        session: In autocommit, with the right to create a schema on first use.
    """
    progress.install(session)
    statements = files("penstock.logs").joinpath("tables.sql").read_bytes()
    version = f"penstock logs {hashlib.sha256(statements).hexdigest()[:12]}"
    found = session.execute(
        "SELECT obj_description(to_regclass('penstock.logs'), 'pg_class')"
    ).fetchone()
    if found == (version,):
        return
    with session.transaction():
        # two first starts at once would collide in the catalog
        session.execute("SELECT pg_advisory_xact_lock(hashtext('penstock.install'))")
        session.execute(statements)
        session.execute(
            sql.SQL("COMMENT ON TABLE penstock.logs IS {}").format(sql.Literal(version))
        )


def find(session: psycopg.Connection[Any], kind: Kind, name: str) -> Entry | None:
    """Look a log up; None when it was never made, or its table was dropped."""
    if session.execute("SELECT to_regclass('penstock.logs')").fetchone() == (None,):
        return None
    row = session.execute(
        "SELECT id, log_id::text, kind, name, pipeline FROM penstock.logs"
        " WHERE kind = %s AND name = %s AND to_regclass(penstock.log_table(id)) IS NOT NULL",
        (kind, name),
    ).fetchone()
    return Entry(*row) if row else None


def partitions(session: psycopg.Connection[Any], entry: Entry) -> int:
    """Count a log's partitions."""
    row = session.execute(
        "SELECT count(*) FROM penstock.log_heads WHERE id = %s", (entry.id,)
    ).fetchone()
    return row[0] if row else 0


def make(session: psycopg.Connection[Any], wanted: Wanted) -> Entry:
    """Find a log, or make it; add partitions that it lacks.

    Raises:
        Refused: The name is too long, the log belongs to another pipeline, or would shrink.
    """
    if len(wanted.name.encode()) > NAME_LIMIT:
        raise Refused(
            f"the name of {wanted.kind} {wanted.name!r} has {len(wanted.name.encode())} bytes, "
            f"PostgreSQL keeps {NAME_LIMIT}; choose a shorter one"
        )
    with connection.errors():
        install(session)
        with session.transaction():
            session.execute("SELECT pg_advisory_xact_lock(hashtext('penstock.logs'))")
            entry = find(session, wanted.kind, wanted.name) or _create(session, wanted)
            _agree(session, entry, wanted)
    return entry


def _create(session: psycopg.Connection[Any], wanted: Wanted) -> Entry:
    # A row without a table: somebody dropped the table. What comes now is another log.
    session.execute(
        "DELETE FROM penstock.logs WHERE kind = %s AND name = %s", (wanted.kind, wanted.name)
    )
    schema = SCHEMAS[wanted.kind]
    row = session.execute(
        "INSERT INTO penstock.logs (kind, name, view, pipeline, child_rows)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id, log_id::text",
        (wanted.kind, wanted.name, "", wanted.pipeline, CHILD_ROWS[wanted.kind]),
    ).fetchone()
    if row is None:  # pragma: no cover
        raise AssertionError("RETURNING gave no row")
    entry = Entry(row[0], row[1], wanted.kind, wanted.name, wanted.pipeline)
    _evade_view(session, entry)
    session.execute(
        sql.SQL(
            'CREATE TABLE {} (partition int NOT NULL, "offset" bigint NOT NULL, key bytea,'
            " value bytea, headers text, born timestamptz,"
            ' CONSTRAINT {} PRIMARY KEY (partition, "offset"))'
            ' PARTITION BY RANGE (partition, "offset")'
        ).format(entry.table, sql.Identifier(f"{entry.channel}_key"))
    )
    session.execute(sql.SQL("ALTER TABLE {} ALTER value SET STORAGE EXTERNAL").format(entry.table))
    if wanted.kind == "landing":
        session.execute(
            "INSERT INTO penstock.landing_cursors (id, run, cursor) VALUES (%s, '', 'null')",
            (entry.id,),
        )
    _add_view(session, entry, view_name(schema, entry.name))
    return entry


def view_name(schema: str, name: str, *, plain: bool = True) -> str:
    """Name the readable view of a log: `<name>_json`, or a shortened one that stays unique."""
    if plain and len(f"{name}_json".encode()) <= NAME_LIMIT:
        return f"{name}_json"
    digest = hashlib.sha256(f"{schema}.{name}".encode()).hexdigest()[:8]
    kept = name.encode()[: NAME_LIMIT - len(digest) - len("__json")].decode(errors="ignore")
    return f"{kept}_{digest}_json"


def _add_view(session: psycopg.Connection[Any], entry: Entry, name: str) -> None:
    schema = SCHEMAS[entry.kind]
    taken = session.execute(
        "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL", (schema, name)
    ).fetchone()
    if taken == (True,):
        name = view_name(schema, entry.name, plain=False)
    query = sql.SQL(_VIEWS[entry.kind]).format(table=entry.table)
    session.execute(sql.SQL("CREATE VIEW {} AS {}").format(sql.Identifier(schema, name), query))
    session.execute("UPDATE penstock.logs SET view = %s WHERE id = %s", (name, entry.id))


def _evade_view(session: psycopg.Connection[Any], entry: Entry) -> None:
    """Rename another log's view that has the name of this log."""
    row = session.execute(
        "UPDATE penstock.logs SET view = '' WHERE kind = %s AND view = %s RETURNING name",
        (entry.kind, entry.name),
    ).fetchone()
    if row:
        schema = SCHEMAS[entry.kind]
        other = view_name(schema, row[0], plain=False)
        rename = sql.SQL("ALTER VIEW {} RENAME TO {}")
        session.execute(rename.format(entry.table, sql.Identifier(other)))
        session.execute(
            "UPDATE penstock.logs SET view = %s WHERE kind = %s AND name = %s",
            (other, entry.kind, row[0]),
        )


def refuse_shrinking(entry: Entry, existing: int, asked: int) -> None:
    """Raise `Refused` when a log has more partitions than it shall have."""
    if asked < existing:
        raise Refused(
            f"{entry.kind} {entry.name!r} has {existing} partitions and cannot shrink to "
            f"{asked}; write partitions={existing}"
        )


def _agree(session: psycopg.Connection[Any], entry: Entry, wanted: Wanted) -> None:
    if wanted.pipeline != entry.pipeline:
        raise Refused(
            f"landing {entry.name!r} belongs to pipeline {entry.pipeline!r}, so pipeline "
            f"{wanted.pipeline!r} cannot land there; choose another name with land="
        )
    existing = partitions(session, entry)
    asked = wanted.partitions or existing or 1
    refuse_shrinking(entry, existing, asked)
    for partition in range(existing, asked):
        session.execute(
            "INSERT INTO penstock.log_heads (id, partition) VALUES (%s, %s)",
            (entry.id, partition),
        )
        session.execute("SELECT penstock.log_extend(%s, %s, 1)", (entry.id, partition))
    if wanted.retention is not None:
        settings = {"seconds": wanted.retention.seconds, "bytes": wanted.retention.bytes}
        session.execute(
            "UPDATE penstock.logs SET retention = %s WHERE id = %s",
            (json.dumps(settings), entry.id),
        )
