"""Tables in which other machines stage a lane's rows, one for each micro-batch.

They are unlogged: a crash of the server empties them, which the count at the commit finds. Every
call that stages tags its rows with a token of its own, so a task that runs twice, or long after
its owner was overtaken, adds rows that no receipt names.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import adbc_driver_manager as adbc
import polars as pl
from psycopg import sql

from penstock import faults, receipts
from penstock.errors import Refused, Unavailable
from penstock.records import LaneKey, Receipt
from penstock.sinks.postgresql.columns import Column, to_copy
from penstock.sinks.postgresql.session import DATABASE_ERRORS, Session, translate
from penstock.sinks.postgresql.table import BOOKS, Table

_TAGS = (
    Column("_partition", "integer", True),
    Column("_offset", "bigint", True),
    Column("_index", "bigint", True),
    Column("_order", "bigint", True),
    Column("_deleted", "boolean", True),
    Column("_token", "bigint", True),
)

_NO_TABLE = "42P01"
_LOCKED = "55P03"

# What is dropped here may be locked by a task that does not know that it is too late.
_PATIENCE = sql.SQL("SET lock_timeout = '100ms'")

_LAID = """
SELECT c.relname::text AS name, p.epoch FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = {books}
LEFT JOIN penstock.progress p ON (p.pipeline, p.log_id, p.segment, p.lane) = ({key})
    AND to_hex(p.partition) = split_part(c.relname, '_', 3)
WHERE starts_with(c.relname, {prefix})
"""


@dataclass(frozen=True)
class Found:
    """Rows that receipts name, as they lie in the table of their micro-batch.

    Args:
        rows: A query of them, in parentheses.
        several: Whether more than one call staged them, so that a key may occur twice.
        upserts: How many rows of each partition.
        deletes: How many deletes of each partition.
        superseded: How many more were left out when they were staged.
    """

    rows: sql.Composable
    several: bool
    upserts: Counter[int]
    deletes: Counter[int]
    superseded: Counter[int]


class Apart:
    """The tables of one lane: laid and dropped by its owner, filled by others.

    Args:
        url: The store.
        table: Where the rows go in the end.
        key: The lane.
    """

    def __init__(self, url: str, table: Table, key: LaneKey) -> None:
        self._url = url
        self._table = table
        self._key = key
        # without the log: what was staged from a log that was made anew must be found, too
        lane = json.dumps([key.pipeline, key.segment, key.lane])
        self._prefix = f"stage_{hashlib.sha256(lane.encode()).hexdigest()[:16]}_"
        self._session: Session | None = None

    def lay(self, partition: int, epoch: int, batch: int) -> str:
        """Create the table of a micro-batch and return its name.

        Args:
            partition: One that the owner holds: who takes it over sweeps the table.
            epoch: The owner's epoch of this partition.
            batch: The open batch's id.
        """
        place = f"{self._prefix}{partition:x}_{epoch:x}_{batch:x}"
        columns = [replace(column, required=False) for column in self._table.columns]
        text = sql.SQL(
            "CREATE UNLOGGED TABLE IF NOT EXISTS {} ({}) WITH (autovacuum_enabled = false)"
        ).format(_named(place), sql.SQL(", ").join(c.definition() for c in (*columns, *_TAGS)))
        with self._using() as session:
            session.execute(text)
        return place

    def bring(self, place: str, rows: pl.DataFrame, superseded: Counter[int]) -> Receipt:
        """Send arranged rows.

        Args:
            place: What `lay` returned, perhaps on another machine.
            rows: Without those that were superseded at once.
            superseded: How many of each partition were.
        """
        number = uuid4().int >> 65  # what a bigint holds
        spec = self._table.spec
        names = [*spec.polars, *(tag.name for tag in _TAGS)]
        tagged = rows.with_columns(pl.lit(number, pl.Int64).alias("_token")).select_seq(names)
        with self._using() as session:
            if rows.height:
                session.copy(to_copy(spec, spec.fields, tagged), place, BOOKS)
        staged = Counter(dict(rows["_partition"].value_counts().iter_rows()))
        return Receipt(dict(staged + superseded), _token(place, number, superseded))

    def find(self, session: Session, named: Sequence[Receipt]) -> Found:
        """Find in the owner's transaction what the receipts name, and count it.

        Raises:
            Unavailable: Something is missing: the server crashed, or a successor swept it.
            Refused: The receipts are of several micro-batches, or of another lane.
        """
        tokens = [json.loads(receipt.token) for receipt in named]
        (place, *others) = {token["place"] for token in tokens}
        if others or not place.startswith(self._prefix):
            raise Refused(f"receipts of {self._key.lane!r} name rows that are not its own")
        numbers = sql.Literal([token["number"] for token in tokens])
        rows = sql.SQL("(SELECT * FROM {} WHERE _token = ANY ({}))").format(_named(place), numbers)
        found = Found(rows, len(tokens) > 1, Counter(), Counter(), Counter())
        for token in tokens:
            found.superseded.update({int(p): n for p, n in token["superseded"].items()})
        for partition, deleted, count in self._count(session, rows).iter_rows():
            (found.deletes if deleted else found.upserts)[partition] += count
        staged = found.upserts + found.deletes + found.superseded
        expected = receipts.total(named)
        if staged != expected and faults.enabled("staged-count"):
            raise self._lost(f"{staged.total()} of {expected.total()} rows are there")
        return found

    def sweep(self, mine: Mapping[int, int], done: int) -> None:
        """Drop tables that nobody will commit; those that somebody locks are left for later.

        Args:
            mine: The epochs of the partitions that the caller holds.
            done: The caller's last micro-batch that was committed so.
        """
        key = [self._key.pipeline, self._key.log_id, self._key.segment, self._key.lane]
        laid = sql.SQL(_LAID).format(
            books=sql.Literal(BOOKS),
            key=sql.SQL(", ").join(map(sql.Literal, key)),
            prefix=sql.Literal(self._prefix),
        )
        with self._using() as session:
            for name, stands in session.query(laid).iter_rows():
                partition, epoch, batch = (int(part, 16) for part in name.split("_")[2:])
                overtaken = stands is not None and epoch < stands
                if overtaken or (mine.get(partition) == epoch and batch <= done):
                    _drop(session, name)

    def batch(self, receipt: Receipt) -> int:
        """Tell of which micro-batch a receipt is."""
        place: str = json.loads(receipt.token)["place"]
        return int(place.rpartition("_")[2], 16)

    def close(self) -> None:
        """Disconnect."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _count(self, session: Session, rows: sql.Composable) -> pl.DataFrame:
        text = sql.SQL("SELECT _partition, _deleted, count(*) FROM {} r GROUP BY 1, 2")
        try:
            return session.query(text.format(rows))
        except DATABASE_ERRORS as error:
            if _no_table(error):
                raise self._lost("their table is gone") from error
            raise

    @contextmanager
    def _using(self) -> Iterator[Session]:
        """Give the session on which nothing is ever left open."""
        if self._session is None:
            self._session = Session(self._url, self._key.lane)
            self._session.execute(_PATIENCE)
        try:
            yield self._session
        except DATABASE_ERRORS as error:
            self.close()
            if _no_table(error):
                raise self._lost("their table is gone") from error
            raise translate(error) from error

    def _lost(self, why: str) -> Unavailable:
        return Unavailable(
            f"rows of lane {self._key.lane!r} that were staged apart are lost: {why}; the server "
            "crashed, or a successor took over. The micro-batch is run again"
        )


def _no_table(error: adbc.Error) -> bool:
    return error.sqlstate == _NO_TABLE or error.status_code == adbc.AdbcStatusCode.NOT_FOUND


def _drop(session: Session, name: str) -> None:
    try:
        session.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_named(name)))
    except DATABASE_ERRORS as error:
        if error.sqlstate != _LOCKED:
            raise


def _named(place: str) -> sql.Identifier:
    return sql.Identifier(BOOKS, place)


def _token(place: str, number: int, superseded: Counter[int]) -> str:
    return json.dumps({"place": place, "number": number, "superseded": superseded})
