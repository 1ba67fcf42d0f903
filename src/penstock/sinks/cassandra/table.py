"""The table of a lane: what it must look like, what it looks like, and how to get there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.errors import ProfileError, Refused
from penstock.plan import Lane
from penstock.profile import Store
from penstock.sinks.cassandra import cql
from penstock.sinks.cassandra.columns import ORDER, Column, column_type
from penstock.sinks.cassandra.cql import listed, quoted
from penstock.sinks.cassandra.session import Session
from penstock.units import seconds

_NAME = re.compile(r"\w{1,48}", re.ASCII)
_SETTINGS = ("clustering", "ttl")
_LONGEST_TTL = 20 * 365 * 86400

_TABLE = "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
_VIEW = "SELECT id FROM system_schema.views WHERE keyspace_name = ? AND view_name = ?"
_COLUMNS = (
    "SELECT column_name, type, kind, position FROM system_schema.columns "
    "WHERE keyspace_name = ? AND table_name = ?"
)
_DROPPED = (
    "SELECT column_name FROM system_schema.dropped_columns "
    "WHERE keyspace_name = ? AND table_name = ?"
)


@dataclass(frozen=True)
class Relation:
    """A table as it is in the cluster.

    Args:
        id: Another one when the table is created anew.
        columns: Types by name.
        partition: Columns of the partition key, in order.
        clustering: Clustering columns, in order.
        dropped: Columns that were there once.
        is_view: Whether it is a view, which nobody can write.
    """

    id: object
    columns: Mapping[str, str]
    partition: tuple[str, ...]
    clustering: tuple[str, ...]
    dropped: frozenset[str]
    is_view: bool


@dataclass(frozen=True)
class Change:
    """Something that `open` does to the keyspace or its tables.

    Args:
        words: What, for people.
        statement: The CQL.
    """

    words: str
    statement: str


class Table:
    """The table that a lane writes.

    Args:
        lane: The lane, of mode `upsert`.
        keyspace: Where the table is.
        store: For the settings of the table, `clustering` and `ttl`.

    Raises:
        ProfileError: The table's settings are wrong.
    """

    def __init__(self, lane: Lane, keyspace: str, store: Store) -> None:
        self.spec = lane.spec
        self.name = lane.table
        self.keyspace = keyspace
        settings = store.tables.get(lane.table, {})
        self._where = f"store {store.name!r}, table {lane.table!r}"
        if unknown := set(settings) - {*_SETTINGS}:
            raise ProfileError(
                f"{self._where}: there is no setting {sorted(unknown)[0]!r}; "
                f"there are {', '.join(_SETTINGS)}"
            )
        self.clustering = self._clustering(lane, settings.get("clustering", []))
        key = lane.key if lane.mode == "upsert" else ()
        self.partition = tuple(name for name in key if name not in self.clustering)
        self.ttl = self._ttl(settings.get("ttl"))
        self.key = (*self.partition, *self.clustering)
        self.columns = tuple(
            Column(f.name, column_type(f.type), not f.nullable) for f in lane.spec.fields
        )

    @property
    def _names(self) -> list[str]:
        return [*(c.name for c in self.columns), ORDER]

    @property
    def full_name(self) -> str:
        """Keyspace and table, quoted."""
        return f"{quoted(self.keyspace)}.{quoted(self.name)}"

    @property
    def words(self) -> str:
        """The table's name, for messages."""
        return f"table {self.name!r} in keyspace {self.keyspace!r}"

    @property
    def insert(self) -> str:
        """The statement that writes a row: the contract's columns, the order stamp twice."""
        live = f" AND TTL {self.ttl}" if self.ttl else ""
        return cql.insert(self.full_name, self._names, f"USING TIMESTAMP ?{live}")

    @property
    def delete(self) -> str:
        """The statement that deletes a row: the order stamp, then the key."""
        return cql.delete(self.full_name, self.key)

    @property
    def select(self) -> str:
        """The statement that reads the contract's columns and the order stamp of every row."""
        return cql.select(self.full_name, self._names)

    def check(self) -> None:
        """Refuse a lane without a key, and a name that no table of Cassandra can have."""
        if not self.key:
            raise Refused(
                f"Cassandra cannot append rows to {self.words}: a rerun would write them twice. "
                'Mark the key in the contract by ps.key(), and let .sink(...) have mode="upsert"'
            )
        if not _NAME.fullmatch(self.name):
            raise Refused(
                f"Cassandra cannot have a table {self.name!r}: its names are 1 to 48 letters a-z, "
                "digits and underscores; name another one in .sink(...)"
            )

    def plan(self, relation: Relation | None, written: int, lane: str) -> list[Change]:
        """Say what must be done so that the lane can write; nothing when all is there.

        Args:
            relation: The table as it is; None when there is none.
            written: How many rows the lane has written to it, as its progress says.
            lane: The lane's name, for messages.

        Raises:
            Refused: The table cannot be used as it is, or is gone although it was written.
        """
        if relation is None:
            if written:
                raise Refused(
                    f"{self.words} is gone, although lane {lane!r} has written {written} rows to "
                    "it. Restore it from a snapshot; or, to write the log's kept records once "
                    f"more, delete the rows of lane {lane!r} from penstock_progress there"
                )
            return [Change(f"create {self.words}", self._create())]
        self.refuse(self.findings(relation))
        missing = [c for c in self.columns if c.name not in relation.columns]
        return [
            Change(
                f"add column {c.name!r} {c.type} to {self.words}",
                f"ALTER TABLE {self.full_name} ADD {quoted(c.name)} {c.type}",
            )
            for c in missing
        ]

    def findings(self, relation: Relation) -> list[str]:
        """List why the table cannot be written as it is, and what to do about each."""
        if relation.is_view:
            return ["it is a materialized view, which only Cassandra writes"]
        if ORDER not in relation.columns:
            return [
                f"it has no column {ORDER!r}, so it is not Penstock's: its rows carry time stamps "
                "of their own, which would win over newer records"
            ]
        found = [self._missing(c, relation) for c in self.columns if c.name not in relation.columns]
        wanted = [*self.columns, Column(ORDER, "bigint")]
        for column in wanted:
            there = relation.columns.get(column.name, column.type)
            if there != column.type:
                found.append(f"column {column.name!r} is {there}, not {column.type}")
        if (relation.partition, relation.clustering) != (self.partition, self.clustering):
            theirs = _primary_key(relation.partition, relation.clustering)
            ours = _primary_key(self.partition, self.clustering)
            found.append(f"its primary key is {theirs}, not {ours}")
        return [each for each in found if each]

    def refuse(self, found: Sequence[str]) -> None:
        """Raise `Refused` with every finding, if there is one."""
        if found:
            raise Refused(
                f"{self.words} does not fit the contract {self.spec.name}:\n  "
                + "\n  ".join(found)
                + "\nCassandra changes no column's type and no key: name another table in "
                ".sink(...), or drop this one if nobody needs its rows"
            )

    def _missing(self, column: Column, relation: Relation) -> str:
        if column.required:
            return (
                f"column {column.name!r} {column.type} is missing, and rows that are there would "
                "have no value for it: add it by hand"
            )
        if column.name in relation.dropped:
            return (
                f"column {column.name!r} was dropped once: Cassandra would hide what is written "
                "to it with order stamps from before that moment. Rename the field"
            )
        return ""

    def _create(self) -> str:
        columns = [f"{quoted(c.name)} {c.type}" for c in self.columns]
        key = _primary_key(self.partition, self.clustering)
        parts = ", ".join([*columns, f"{quoted(ORDER)} bigint", f"PRIMARY KEY {key}"])
        return f"CREATE TABLE IF NOT EXISTS {self.full_name} ({parts})"

    def _clustering(self, lane: Lane, names: Any) -> tuple[str, ...]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ProfileError(f'{self._where}: clustering is a list of columns, such as ["day"]')
        if strange := [name for name in names if name not in lane.key]:
            raise ProfileError(
                f"{self._where}: clustering column {strange[0]!r} is not in the key; the key has "
                f"{', '.join(lane.key)}"
            )
        if len(set(names)) < len(names) or len(names) >= len(lane.key) > 0:
            raise ProfileError(
                f"{self._where}: clustering takes the whole key, or a column twice; leave at least "
                "one column of the key for the partition"
            )
        return tuple(names)

    def _ttl(self, text: Any) -> int:
        if text is None:
            return 0
        try:
            found = round(seconds(text))
        except ValueError as error:
            raise ProfileError(f"{self._where}: ttl: {error}") from None
        if not 0 < found <= _LONGEST_TTL:
            raise ProfileError(f"{self._where}: ttl is 1 second to 20 years, not {text!r}")
        return found


def find(session: Session, keyspace: str, name: str) -> Relation | None:
    """Look a table up; None when there is none."""
    place = (keyspace, name)
    tables, views = session.run(_TABLE, place), session.run(_VIEW, place)
    if not tables and not views:
        return None
    columns = sorted(session.run(_COLUMNS, place), key=lambda row: row["position"])
    of_kind = {
        kind: tuple(row["column_name"] for row in columns if row["kind"] == kind)
        for kind in ("partition_key", "clustering")
    }
    return Relation(
        id=(tables or views)[0]["id"],
        columns={row["column_name"]: row["type"] for row in columns},
        partition=of_kind["partition_key"],
        clustering=of_kind["clustering"],
        dropped=frozenset(row["column_name"] for row in session.run(_DROPPED, place)),
        is_view=bool(views),
    )


def table_id(session: Session, keyspace: str, name: str) -> object:
    """Ask which table has this name now; None when none has."""
    found = session.run(_TABLE, (keyspace, name))
    return found[0]["id"] if found else None


def _primary_key(partition: Sequence[str], clustering: Sequence[str]) -> str:
    return f"({', '.join([f'({listed(partition)})', *map(quoted, clustering)])})"
