"""The table of a lane: what it must look like, what it looks like, and how to get there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from penstock.errors import Refused
from penstock.postgresql import progress
from penstock.sinks.postgresql import belonging
from penstock.sinks.postgresql.columns import Column, column

if TYPE_CHECKING:
    from penstock.plan import Lane
    from penstock.records import LaneKey

LONGEST_NAME = 63
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")

POSITION = (
    Column("_partition", "integer", True),
    Column("_offset", "bigint", True),
    Column("_index", "bigint", True),
)
ORDER = (Column("_order", "bigint", True),)

BOOKS = "penstock"

_RELATION = """
SELECT c.relkind, EXISTS (
    SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
        AND t.tgtype::int & 7 = 7  -- for each row, before, insert
)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) = (%s, %s)
"""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.attgenerated <> '', a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) = (%s, %s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_SHAPE = """
SELECT c.oid::text || string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull,
    a.attgenerated), ',' ORDER BY a.attnum) AS shape
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) = ({}, {}) AND a.attnum > 0
GROUP BY c.oid
"""

_KEYS = """
SELECT array_agg(a.attname::text ORDER BY a.attname::text)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey[:i.indnkeyatts - 1])
WHERE (n.nspname, c.relname) = (%s, %s) AND i.indisunique AND i.indisvalid AND i.indimmediate
    AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""


@dataclass(frozen=True)
class Found:
    """A column as it is in the database."""

    type: str
    required: bool
    generated: bool
    filled: bool


@dataclass(frozen=True)
class Relation:
    """A table as it is in the database."""

    columns: Mapping[str, Found]
    keys: Sequence[frozenset[str]]
    has_trigger: bool


class Table:
    """The table that a lane writes.

    Args:
        lane: The lane, of mode `upsert` or `append`.
        schema: The database schema of the store.
    """

    def __init__(self, lane: Lane, schema: str) -> None:
        self.spec = lane.spec
        self.name = lane.table
        self.schema = schema
        self.key = lane.key if lane.mode == "upsert" else ()
        self.columns = tuple(column(field) for field in lane.spec.fields)
        self.extras = ORDER if self.key else POSITION
        digest = hashlib.sha256(f"{schema}\0{lane.table}".encode()).hexdigest()[:16]
        self.deleted_name = f"deleted_{digest}"

    @property
    def identifier(self) -> sql.Composable:
        """The table's full name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def deleted(self) -> sql.Composable:
        """Full name of the side table that remembers deleted keys and their order stamps."""
        return sql.Identifier(BOOKS, self.deleted_name)

    @property
    def words(self) -> str:
        """The table's full name, for messages."""
        return f"table {self.name!r} in schema {self.schema!r}"

    @property
    def shape(self) -> sql.Composed:
        """The query whose one text changes when the table is altered or created anew."""
        return sql.SQL(_SHAPE).format(sql.Literal(self.schema), sql.Literal(self.name))

    def shape_in(self, connection: psycopg.Connection[Any]) -> str:
        """Ask for the table's shape; empty when there is no table."""
        row = connection.execute(self.shape).fetchone()
        return str(row[0]) if row else ""

    def plan(self, connection: psycopg.Connection[Any], lane: LaneKey) -> list[Change]:
        """Say what must be done so that the lane can write; nothing when all is there.

        Raises:
            Refused: The table cannot be used as it is, belongs to another lane, or is gone
                although it was written.
        """
        check_names(self)
        changes = []
        if not _has_schema(connection, self.schema):
            changes.append(self._create_schema())
        relation = read(connection, self.schema, self.name)
        if relation is None:
            self._refuse_if_written(connection, lane)
            changes.append(self._create())
        else:
            belonging.refuse_others(connection, self, lane)
            refuse(self, findings(self, relation))
            changes += [self._add(column) for column in self.missing(relation)]
            changes += [self._loosen(column) for column in self._too_strict(relation)]
            changes += [self._widen(column) for column in self._too_narrow(relation)]
        if self.key and read(connection, BOOKS, self.deleted_name) is None:
            changes.append(self._create_deleted())
        return changes

    def missing(self, relation: Relation) -> list[Column]:
        """List the contract's columns that the table lacks."""
        return [c for c in self.columns if c.name not in relation.columns]

    def _too_strict(self, relation: Relation) -> list[Column]:
        """List the columns that must take nulls now, since the contract does."""
        there = relation.columns
        return [c for c in self.columns if c.name in there and there[c.name].required > c.required]

    def _too_narrow(self, relation: Relation) -> list[Column]:
        """List the columns that must hold more digits now; those of the key are left alone."""
        there = relation.columns
        return [
            c
            for c in self.columns
            if c.name in there and c.name not in self.key and _holds(c.type, there[c.name].type)
        ]

    def _refuse_if_written(self, connection: psycopg.Connection[Any], lane: LaneKey) -> None:
        if not progress.installed(connection):
            return
        written = sum(p.totals.written for p in progress.read(connection, lane).values())
        if written:
            raise Refused(
                f"{self.words} is gone, although lane {lane.lane!r} has written {written} rows to "
                "it. Restore it from a backup; or, to write the log's kept records once more, "
                f"delete the rows of lane {lane.lane!r} from penstock.progress in this store"
            )

    def _create_schema(self) -> Change:
        text = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema))
        return Change(f"create schema {self.schema!r}", text)

    def _create(self) -> Change:
        parts = [c.definition() for c in (*self.columns, *self.extras)]
        if self.key:
            parts.append(_primary_key(self.key))
        text = sql.SQL("CREATE TABLE {} ({})").format(self.identifier, sql.SQL(", ").join(parts))
        if not self.key:
            # exactly-once rests on the progress, so a B-tree's cost would buy nothing here
            positions = sql.SQL(", ").join(sql.Identifier(c.name) for c in POSITION)
            index = sql.SQL("; CREATE INDEX ON {} USING brin ({})")
            text += index.format(self.identifier, positions)
        names = ", ".join(f"{c.name} {c.type}" for c in self.columns)
        return Change(f"create {self.words} with {names}", text)

    def _add(self, column: Column) -> Change:
        text = sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(self.identifier, column.definition())
        return Change(f"add column {column.name!r} {column.type} to {self.words}", text)

    def _loosen(self, column: Column) -> Change:
        text = sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL")
        words = f"let column {column.name!r} of {self.words} be null"
        return Change(words, text.format(self.identifier, sql.Identifier(column.name)))

    def _widen(self, column: Column) -> Change:
        text = sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE " + column.type)
        words = f"let column {column.name!r} of {self.words} be {column.type}"
        return Change(words, text.format(self.identifier, sql.Identifier(column.name)))

    def _create_deleted(self) -> Change:
        columns = {c.name: c for c in self.columns}
        parts = [columns[name].definition() for name in self.key]
        parts += [ORDER[0].definition(), _primary_key(self.key)]
        text = sql.SQL("CREATE TABLE IF NOT EXISTS {} ({}); COMMENT ON TABLE {} IS {}").format(
            self.deleted,
            sql.SQL(", ").join(parts),
            self.deleted,
            sql.Literal(f"Keys deleted from {self.words}, so that no late replay brings them back"),
        )
        return Change(f"create a table of the keys deleted from {self.words}", text)


@dataclass(frozen=True)
class Change:
    """One thing that `open` does to the database, in words and as a statement."""

    words: str
    statement: sql.Composed


def read(connection: psycopg.Connection[Any], schema: str, name: str) -> Relation | None:
    """Read a table from the catalog, None when there is none.

    Raises:
        Refused: There is something of this name that is no table.
    """
    where = (schema, name)
    found = connection.execute(_RELATION, where).fetchone()
    if found is None:
        return None
    kind, has_trigger = found
    if kind not in ("r", "p"):
        raise Refused(
            f"{name!r} in schema {schema!r} is not a table, and only a table can be written "
            "exactly once; name another table in .sink(...)"
        )
    columns = {row[0]: Found(*row[1:]) for row in connection.execute(_COLUMNS, where)}
    keys = [frozenset(names) for (names,) in connection.execute(_KEYS, where)]
    return Relation(columns, keys, has_trigger)


def findings(table: Table, relation: Relation) -> list[str]:
    """List why a table cannot be written by the lane as it is, and what to do about each."""
    found = _missing_and_different(table, relation)
    ours = {c.name for c in (*table.columns, *table.extras)}
    for name, other in relation.columns.items():
        if name not in ours and other.required and not other.filled and not relation.has_trigger:
            found.append(
                f"column {name!r} is NOT NULL without a default, and the contract "
                f"{table.spec.name} does not have it: give it a default or drop its NOT NULL"
            )
    if table.key and frozenset(table.key) not in relation.keys:
        names = ", ".join(table.key)
        found.append(f"no unique index is on exactly the key ({names}): create one")
    return found


def refuse(table: Table, found: Sequence[str]) -> None:
    """Raise `Refused` with every finding, if there is one."""
    if found:
        raise Refused(
            f"{table.words} does not fit the contract {table.spec.name}:\n  "
            + "\n  ".join(found)
            + "\nChange the table as said, or name another one in .sink(...)"
        )


def check_names(table: Table) -> None:
    """Refuse names that PostgreSQL would cut or cannot hold."""
    names = [table.schema, table.name, *(c.name for c in table.columns)]
    for name in names:
        size = len(name.encode())
        if not name or size > LONGEST_NAME or "\0" in name:
            raise Refused(
                f"the name {name!r} has {size} bytes; PostgreSQL takes 1 to {LONGEST_NAME} bytes "
                "without NUL: choose another name"
            )
    for taken in (c.name for c in table.columns if c.name in _SYSTEM_COLUMNS):
        raise Refused(
            f"the column {taken!r} of {table.words} has the name of one of PostgreSQL's "
            f"own: rename the field of {table.spec.name}"
        )


def _missing_and_different(table: Table, relation: Relation) -> list[str]:
    found = []
    for wanted in (*table.columns, *table.extras):
        there = relation.columns.get(wanted.name)
        if there is None:
            if wanted.required:
                found.append(
                    f"column {wanted.name!r} {wanted.type} is missing, and rows that are there "
                    "would have no value for it: add it by hand"
                )
        elif there.type != wanted.type and (
            wanted.name in table.key or not _holds(wanted.type, there.type)
        ):
            found.append(
                f"column {wanted.name!r} is {there.type}, not {wanted.type}: change its type"
            )
        elif there.generated:
            found.append(f"column {wanted.name!r} is generated: drop its expression")
    return found


def _holds(wide: str, narrow: str) -> bool:
    """Whether one numeric type is wider than another and holds all its values."""
    ours, theirs = _NUMERIC.fullmatch(wide), _NUMERIC.fullmatch(narrow)
    if not ours or not theirs or wide == narrow:
        return False
    more = int(ours[2]) - int(theirs[2])
    return more >= 0 and int(ours[1]) - int(theirs[1]) >= more


def _primary_key(names: Sequence[str]) -> sql.Composed:
    return sql.SQL("PRIMARY KEY ({})").format(sql.SQL(", ").join(map(sql.Identifier, names)))


def _has_schema(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (name,))
    return row.fetchone() == (True,)
