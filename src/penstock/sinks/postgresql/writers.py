"""How rows get into a table: straight (append), or by key through temporary tables (upsert).

A writer works inside the transaction of the session it is given and knows no progress. Its
`stage` brings rows to the server, its `apply` makes them part of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import LiteralString, Protocol

import polars as pl
from psycopg import sql

from penstock.contract.types import Field
from penstock.errors import Refused
from penstock.receipts import added
from penstock.records import Counts
from penstock.sinks.postgresql.apart import Found
from penstock.sinks.postgresql.columns import Column, to_copy
from penstock.sinks.postgresql.session import Session
from penstock.sinks.postgresql.table import ORDER, POSITION, Table

STAGE = "penstock_upserts"
DELETES = "penstock_deletes"
_STAGE = sql.Identifier("pg_temp", STAGE)
_DELETES = sql.Identifier("pg_temp", DELETES)

_TAGS = (Column("_partition", "integer", True), Column("_index", "bigint", True), *ORDER)


class Writer(Protocol):
    """Brings rows into one table; everything happens in the session's open transaction."""

    def prepare(self, session: Session) -> None:
        """Make what a new session needs."""

    def arrange(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Counter[int]]:
        """Put rows into the order in which they are applied, without those superseded at once.

        Returns:
            The rows, and how many of each partition were superseded.
        """

    def stage(self, session: Session, rows: pl.DataFrame) -> None:
        """Send arranged rows to the server."""

    def adopt(self, session: Session, found: Found) -> None:
        """Take what others have staged for this writer to what `apply` brings into the table."""

    def apply(self, session: Session) -> dict[int, Counts]:
        """Bring what is staged into the table; says what became of it for each partition."""

    def forget(self) -> None:
        """Count nothing as staged: the transaction was rolled back."""


class AppendWriter:
    """COPY straight into the table; every row carries its position."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = [c.name for c in (*table.columns, *POSITION)]
        self._staged: Counter[int] = Counter()

    def prepare(self, session: Session) -> None:
        return

    def arrange(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Counter[int]]:
        return rows, Counter()

    def stage(self, session: Session, rows: pl.DataFrame) -> None:
        frame = to_copy(self._table.spec, self._table.spec.fields, rows.select_seq(self._columns))
        session.copy(frame, self._table.name, self._table.schema)
        self._staged += per_partition(rows)

    def adopt(self, session: Session, found: Found) -> None:
        columns = _joined(", ", "{0}", self._columns)
        text = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} r")
        written = session.execute(text.format(self._table.identifier, columns, columns, found.rows))
        if written < found.upserts.total():
            raise _kept_out(self._table, written, found.upserts.total())
        self._staged += found.upserts

    def apply(self, session: Session) -> dict[int, Counts]:
        written = self._staged
        self.forget()
        return {partition: Counts(written=n) for partition, n in written.items()}

    def forget(self) -> None:
        self._staged = Counter()


class UpsertWriter:
    """COPY into a temporary table, then one INSERT … ON CONFLICT guarded by the order stamp.

    A delete removes the row and leaves its key and order stamp in a side table, so that a late
    replay does not bring the row back.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._tags = [c.name for c in _TAGS]
        self._key_fields = [f for f in table.spec.fields if f.name in table.key]
        self._names = _Names(table)
        self._upserts: Counter[int] = Counter()
        self._deletes: Counter[int] = Counter()
        self._done: dict[int, Counts] = {}
        self._used = False

    def prepare(self, session: Session) -> None:
        key = [c for c in self._table.columns if c.name in self._table.key]
        session.execute(
            _temporary(STAGE, (*self._table.columns, *_TAGS)),
            _temporary(DELETES, (*key, *_TAGS)),
        )

    def arrange(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Counter[int]]:
        newest = _newest(rows, self._table.key)
        if newest["_deleted"].any():
            # deletes first, as `apply` has it, so that a bisection tries what will be done
            newest = newest.sort(~pl.col("_deleted"), maintain_order=True)
        return newest, per_partition(rows) - per_partition(newest)

    def stage(self, session: Session, rows: pl.DataFrame) -> None:
        self._make_room(session)
        deleted = rows["_deleted"]
        upserts, deletes = rows, rows.clear()
        if deleted.any():
            upserts, deletes = rows.filter(~deleted), rows.filter(deleted)
        self._upserts = self._send(session, STAGE, self._table.spec.fields, upserts)
        self._deletes = self._send(session, DELETES, self._key_fields, deletes)

    def adopt(self, session: Session, found: Found) -> None:
        self._make_room(session)
        if found.deletes or self._any_gone(session):
            self._spill(session, found)
            return
        lost = self._insert(session, found.upserts.total(), self._newest(found), found.rows)
        now = _counted(found.upserts, lost, Counter(), Counter())
        self._done = added([self._done, now])

    def apply(self, session: Session) -> dict[int, Counts]:
        upserts, deletes, done = self._upserts, self._deletes, self._done
        self._upserts, self._deletes, self._done = Counter(), Counter(), {}
        if not upserts and not deletes:
            return done
        gone_before = self._any_gone(session)
        lost_upserts, lost_deletes = Counter[int](), Counter[int]()
        if gone_before:
            lost_upserts += self._drop_late(session, _STAGE, self._table.deleted)
            lost_deletes += self._drop_late(session, _DELETES, self._table.deleted)
        if deletes:
            lost_deletes += self._drop_late(session, _DELETES, self._table.identifier)
            self._delete(session)
        if upserts:
            lost_upserts += self._insert(session, (upserts - lost_upserts).total(), _STAGE, _STAGE)
        if upserts and gone_before:
            session.execute(self._names("DELETE FROM {gone} t USING {stage} s WHERE {same}"))
        now = _counted(upserts, lost_upserts, deletes, lost_deletes)
        return added([done, now])

    def forget(self) -> None:
        self._upserts, self._deletes, self._done = Counter(), Counter(), {}
        self._used = False

    def _make_room(self, session: Session) -> None:
        """Apply what was staged before; the temporary tables take one frame at a time."""
        if self._used:
            self._done = self.apply(session)
            session.execute(
                self._names("DELETE FROM {stage}"), self._names("DELETE FROM {deletes}")
            )
        self._used = True

    def _newest(self, found: Found) -> sql.Composable:
        """Compose a query of the newest row of each key; one call's rows are that already."""
        if not found.several:
            return found.rows
        return self._names(
            "(SELECT DISTINCT ON ({key}) * FROM {rows} r ORDER BY {key}, _order DESC, _index DESC)",
            rows=found.rows,
        )

    def _spill(self, session: Session, found: Found) -> None:
        """Stage what others have staged as if it had come here: deletes need it apart."""
        newest = self._newest(found)
        session.execute(
            self._names(
                "INSERT INTO {stage} ({columns}, _partition, _index) "
                "SELECT {columns}, _partition, _index FROM {newest} n WHERE NOT _deleted",
                newest=newest,
            ),
            self._names(
                "INSERT INTO {deletes} ({key}, _order, _partition, _index) "
                "SELECT {key}, _order, _partition, _index FROM {newest} n WHERE _deleted",
                newest=newest,
            ),
        )
        self._upserts = _by_partition(session, self._names("SELECT _partition FROM {stage}"))
        self._deletes = _by_partition(session, self._names("SELECT _partition FROM {deletes}"))
        superseded = found.upserts + found.deletes - self._upserts - self._deletes
        self._done = added([self._done, superseded_only(superseded)])

    def _send(
        self, session: Session, table: str, fields: Sequence[Field], rows: pl.DataFrame
    ) -> Counter[int]:
        if rows.height:
            # in the order of the index: its pages are found and written one after the other
            columns = rows.select_seq([*(f.name for f in fields), *self._tags])
            columns = columns.sort(self._table.key)
            session.copy(to_copy(self._table.spec, fields, columns), table, None)
        return per_partition(rows)

    def _any_gone(self, session: Session) -> bool:
        return session.execute(self._names("SELECT FROM {gone} LIMIT 1")) > 0

    def _drop_late(
        self, session: Session, staged: sql.Composable, newer: sql.Composable
    ) -> Counter[int]:
        """Take out of the staged rows those that are older than what is there already."""
        statement = self._names(
            "DELETE FROM {staged} s USING {newer} t "
            "WHERE {same} AND t._order >= s._order RETURNING s._partition",
            staged=staged,
            newer=newer,
        )
        return _by_partition(session, statement)

    def _delete(self, session: Session) -> None:
        session.execute(
            self._names("DELETE FROM {table} t USING {deletes} s WHERE {same}"),
            self._names(
                "INSERT INTO {gone} ({key}, _order) SELECT {key}, _order FROM {deletes} "
                "ON CONFLICT ({key}) DO UPDATE SET _order = excluded._order"
            ),
        )

    def _insert(
        self, session: Session, expected: int, newest: sql.Composable, staged: sql.Composable
    ) -> Counter[int]:
        """Insert or update; says how many of the staged rows of each partition were too late."""
        written = session.execute(
            self._names(
                "INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM {newest} n "
                "ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE t._order < excluded._order",
                newest=newest,
            )
        )
        if written == expected:
            return Counter()
        lost = _by_partition(
            session,
            self._names(
                "SELECT s._partition FROM {staged} s JOIN {table} t ON {same} WHERE t._order "
                "> s._order OR t._order = s._order AND t.xmin <> pg_current_xact_id()::xid",
                staged=staged,
            ),
        )
        if written + lost.total() < expected:
            raise _kept_out(self._table, written, expected)
        return lost


class _Names:
    """Fills the names of tables and columns into statements."""

    def __init__(self, table: Table) -> None:
        every = [*(c.name for c in table.columns), "_order"]
        changed = [name for name in every if name not in table.key]
        self._parts = {
            "table": table.identifier,
            "gone": table.deleted,
            "stage": _STAGE,
            "deletes": _DELETES,
            "key": _joined(", ", "{0}", table.key),
            "same": _joined(" AND ", "s.{0} = t.{0}", table.key),
            "columns": _joined(", ", "{0}", every),
            "changes": _joined(", ", "{0} = excluded.{0}", changed),
        }

    def __call__(self, statement: LiteralString, **others: sql.Composable) -> sql.Composed:
        return sql.SQL(statement).format(**self._parts, **others)


def per_partition(rows: pl.DataFrame) -> Counter[int]:
    """Count rows of each partition."""
    return Counter(dict(rows["_partition"].value_counts().iter_rows()))


def superseded_only(rows: Mapping[int, int]) -> dict[int, Counts]:
    """Count these rows as superseded."""
    return {p: Counts(superseded=n) for p, n in rows.items()}


def _kept_out(table: Table, written: int, expected: int) -> Refused:
    return Refused(
        f"{table.words} took {written} of {expected} rows: a trigger or a rule keeps the others "
        "out silently; let it raise an error, or remove it"
    )


def _newest(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Keep the newest row of each key, and the rows' order."""
    columns = rows.select_seq(key)
    distinct = columns.to_series() if len(key) == 1 else columns
    if distinct.n_unique() == rows.height:
        return rows
    numbered = rows.with_row_index("_number").sort("_order", "_index", maintain_order=True)
    newest = numbered.unique(list(key), keep="last", maintain_order=True)
    return newest.sort("_number").drop("_number")


def _counted(
    upserts: Counter[int],
    lost_upserts: Counter[int],
    deletes: Counter[int],
    lost_deletes: Counter[int],
) -> dict[int, Counts]:
    return {
        p: Counts(
            written=upserts[p] - lost_upserts[p],
            superseded=lost_upserts[p] + lost_deletes[p],
            deleted=deletes[p] - lost_deletes[p],
        )
        for p in {*upserts, *deletes}
    }


def _by_partition(session: Session, statement: sql.Composable) -> Counter[int]:
    """Run a statement that gives a `_partition` for each row, and count them."""
    text = "WITH rows AS ({}) SELECT _partition, count(*) AS n FROM rows GROUP BY _partition"
    return Counter(dict(session.query(sql.SQL(text).format(statement)).iter_rows()))


def _temporary(name: str, columns: Sequence[Column]) -> sql.Composable:
    parts = sql.SQL(", ").join(c.definition() for c in columns)
    text = sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DELETE ROWS")
    return text.format(sql.Identifier(name), parts)


def _joined(between: LiteralString, each: LiteralString, names: Sequence[str]) -> sql.Composable:
    parts = [sql.SQL(each).format(sql.Identifier(name)) for name in names]
    return sql.SQL(between).join(parts)
