"""The reading side of a PostgreSQL log, the same for landings and topics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver
import polars as pl
import psycopg
from psycopg import sql

from penstock.errors import LogChanged, PenstockError
from penstock.logs.columns import RECORDS
from penstock.logs.tables import Entry
from penstock.logs.waking import Waker
from penstock.postgresql import connection
from penstock.records import Limits, LogBatch, Span

_ROWS = sql.SQL(
    'SELECT partition, "offset", key, value, headers, born FROM {table}'
    ' WHERE partition = {partition} AND "offset" >= {start} AND "offset" < {end}'
)

_CUT = sql.SQL(
    'SELECT "offset" FROM (SELECT "offset", sum(coalesce(octet_length(value), 0)'
    ' + coalesce(octet_length(key), 0)) OVER (ORDER BY "offset") AS size FROM {table}'
    ' WHERE partition = {partition} AND "offset" >= {start} AND "offset" < {end}) s'
    " WHERE size > {bytes} LIMIT 1"
)
"""The first record that is too much; the server reads no further."""

_WORTHWHILE = 4
"""A read that surely fits is taken when it has at least this part of the records asked for."""


class TableLog:
    """A log that is a table of PostgreSQL. Implements `interfaces.Log`.

    Args:
        url: Of its database.
        entry: What the registry says of it.
        session: A connection to take over, when there is one.
    """

    def __init__(self, url: str, entry: Entry, session: psycopg.Connection[Any]) -> None:
        self.name = entry.name
        self._url = url
        self._entry = entry
        self._session_or_none: psycopg.Connection[Any] | None = session
        self._columns: driver.Connection | None = None
        self._waker = Waker(url, entry.channel)

    def identity(self) -> str:
        return self._entry.log_id

    def spans(self) -> Mapping[int, Span]:
        return {partition: span for partition, (span, _) in self._heads().items()}

    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        heads = self._heads()
        spans: dict[int, Span] = {}
        records, size = limits.records, limits.bytes
        behind = sorted(p for p, start in starts.items() if self._known(heads, p, start) > start)
        for position, partition in enumerate(behind):
            share = len(behind) - position  # what one partition leaves, the next ones may take
            asked = Limits(max(1, records // share), max(1, size // share))
            spans[partition], used = self._bounded(heads, partition, starts[partition], asked)
            records -= len(spans[partition])
            size -= used
        return self.reread(spans) if spans else LogBatch({}, RECORDS.to_frame())

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        wanted = {p: span for p, span in sorted(spans.items()) if len(span)}
        if not wanted:
            return LogBatch(dict(spans), RECORDS.to_frame())
        queries = [self._select(partition, span) for partition, span in wanted.items()]
        found = self._query(sql.SQL(" UNION ALL ").join(queries))
        frame = found.select(pl.col(name).cast(dtype) for name, dtype in RECORDS.items()).sort(
            "partition", "offset"
        )
        self._complete(frame, wanted)
        return LogBatch(dict(spans), frame)

    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        def grown() -> bool:
            heads = self._heads()
            return any(p in heads and heads[p][0].end > start for p, start in starts.items())

        return self._waker.wait(grown, timeout)

    def wake(self) -> None:
        self._waker.wake()

    def mark(self, lane: str, nexts: Mapping[int, int]) -> None:
        """Do nothing: PostgreSQL has no tool that would show it."""

    def close(self) -> None:
        self._waker.close()
        if self._session_or_none:
            self._session_or_none.close()
        self._forget_columns()

    @property
    def _session(self) -> psycopg.Connection[Any]:
        if self._session_or_none is None or self._session_or_none.closed:
            self._session_or_none = connection.connect(self._url, name=f"log {self.name}")
        return self._session_or_none

    def _heads(self) -> dict[int, tuple[Span, int]]:
        with connection.errors():
            rows = self._session.execute(
                "SELECT h.partition, h.start, h.next, h.largest FROM penstock.log_heads h"
                " JOIN penstock.logs l USING (id)"
                " WHERE l.id = %s AND l.log_id = %s ORDER BY 1",
                (self._entry.id, self._entry.log_id),
            ).fetchall()
        if not rows:
            raise LogChanged(f"{self._words()} was removed while it was read; start again")
        return {partition: (Span(start, end), largest) for partition, start, end, largest in rows}

    def _known(self, heads: Mapping[int, tuple[Span, int]], partition: int, start: int) -> int:
        """Return the end of a partition; refuse a start that it does not have."""
        if partition not in heads:
            raise LogChanged(f"{self._words()} has no partition {partition} any more")
        span = heads[partition][0]
        if start < span.start:
            raise LogChanged(
                f"{self._words()} keeps partition {partition} from offset {span.start} on, but "
                f"the next one to read is {start}: retention or a person removed the records"
            )
        if start > span.end:
            raise LogChanged(
                f"{self._words()} ends at offset {span.end} of partition {partition}, but the "
                f"next one to read is {start}: it was restored from a backup or truncated"
            )
        return span.end

    def _bounded(
        self, heads: Mapping[int, tuple[Span, int]], partition: int, start: int, limits: Limits
    ) -> tuple[Span, int]:
        span, largest = heads[partition]
        end = min(span.end, start + limits.records)
        if largest * (end - start) > limits.bytes:
            fitting = limits.bytes // largest
            if fitting * _WORTHWHILE < limits.records:
                end = self._end_by_size(partition, Span(start, end), limits.bytes)
                return Span(start, end), limits.bytes
            end = start + fitting
        return Span(start, end), largest * (end - start)

    def _end_by_size(self, partition: int, span: Span, size: int) -> int:
        statement = _CUT.format(
            table=self._entry.table,
            partition=sql.Literal(partition),
            start=sql.Literal(span.start),
            end=sql.Literal(span.end),
            bytes=sql.Literal(size),
        )
        with connection.errors():
            row = self._session.execute(statement).fetchone()
        return max(span.start + 1, row[0]) if row else span.end

    def _select(self, partition: int, span: Span) -> sql.Composed:
        return _ROWS.format(
            table=self._entry.table,
            partition=sql.Literal(partition),
            start=sql.Literal(span.start),
            end=sql.Literal(span.end),
        )

    def _complete(self, frame: pl.DataFrame, spans: Mapping[int, Span]) -> None:
        found = dict(frame.group_by("partition").len().iter_rows())
        for partition, span in spans.items():
            if found.get(partition, 0) != len(span):
                raise LogChanged(
                    f"{self._words()} holds {found.get(partition, 0)} of the {len(span)} records "
                    f"of partition {partition} from offset {span.start} to {span.end}: some were "
                    "removed, or the log was restored from a backup"
                )

    def _words(self) -> str:
        return f"{self._entry.kind} {self.name!r}"

    def _query(self, statement: sql.Composed) -> pl.DataFrame:
        with self._column_errors(), self._column_session().cursor() as cursor:
            cursor.execute(statement.as_string())
            frame = pl.from_arrow(cursor.fetch_arrow_table())
        return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    def _column_session(self) -> driver.Connection:
        if self._columns is None:
            url = connection.dsn(self._url, name=f"log {self.name}")
            try:
                self._columns = driver.connect(url, autocommit=True)
            except adbc.Error as error:
                raise connection.connect_error(self._url, str(error)) from None
        return self._columns

    @contextmanager
    def _column_errors(self) -> Iterator[None]:
        try:
            yield
        except adbc.Error as error:
            self._forget_columns()
            raise _translated(error) from error

    def _forget_columns(self) -> None:
        if self._columns is not None:
            gone, self._columns = self._columns, None
            gone.close()


def _translated(error: adbc.Error) -> PenstockError:
    return connection.from_sqlstate(error.sqlstate, " ".join(str(error).split()))
