"""One ADBC session: statements, queries and binary COPY in transactions of our own making."""

from __future__ import annotations

from collections.abc import Iterator

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver
import polars as pl
import pyarrow as pa
from psycopg import sql

from penstock import faults
from penstock.errors import PenstockError, Refused, Rejected
from penstock.postgresql import connection

SLICE = 16_384
"""Rows in one Arrow batch of a COPY: enough to be fast, few enough to be stopped in between."""

DATABASE_ERRORS = (adbc.Error,)

# A writer waits in its transaction while the other lanes of the micro-batch stage.
_IDLE = "SET idle_in_transaction_session_timeout = '10min'"

_WORDS = ("PG_DIAG_MESSAGE_PRIMARY", "PG_DIAG_MESSAGE_DETAIL")

_BAD_VALUE = (adbc.AdbcStatusCode.INVALID_ARGUMENT, adbc.AdbcStatusCode.INVALID_DATA)


class Session:
    """A connection that reads and writes in columns.

    Args:
        url: The store's URL, perhaps with `schema=`.
        name: Who connects, for the server's list of sessions.

    Raises:
        Unavailable: The server cannot be reached.
        Refused: It refuses the connection for good.
    """

    def __init__(self, url: str, name: str) -> None:
        try:
            self._connection = driver.connect(connection.dsn(url, name=name), autocommit=True)
        except adbc.Error as error:
            raise connection.connect_error(url, str(error)) from None
        # One cursor cannot serve all: an ingest leaves its options on it, and a query is not
        # sent again when the cursor believes that it was the last one.
        self._statements = self._connection.cursor()
        self._queries = self._connection.cursor()
        self._copies = self._connection.cursor()
        self.execute(sql.SQL(_IDLE))

    def execute(self, *statements: sql.Composable) -> int:
        """Send statements in one message; returns how many rows the last one changed or found."""
        text = sql.SQL("; ").join(statements).as_string()
        handle = self._statements.adbc_statement
        handle.set_sql_query(text)
        changed: int = handle.execute_update()
        return changed

    def query(self, statement: sql.Composable) -> pl.DataFrame:
        """Run one query and return its rows."""
        self._queries.execute(statement.as_string())
        return _frame(self._queries.fetch_arrow_table())

    def stream(self, statement: sql.Composable) -> Iterator[pl.DataFrame]:
        """Run one query and yield its rows in frames of some megabytes."""
        self._queries.execute(statement.as_string())
        with self._queries.fetch_record_batch() as reader:
            for batch in reader:
                if batch.num_rows:
                    yield _frame(pa.Table.from_batches([batch]))

    def copy(self, frame: pl.DataFrame, table: str, schema: str | None) -> int:
        """COPY a frame into a table; a `schema` of None means a temporary table.

        Returns:
            How many rows were sent.
        """
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        batches = pa.RecordBatchReader.from_batches(arrow.schema, _sliced(arrow))
        where = {"temporary": True} if schema is None else {"db_schema_name": schema}
        sent: int = self._copies.adbc_ingest(table, batches, mode="append", **where)
        return sent

    def close(self) -> None:
        """Disconnect; the server forgets an open transaction."""
        for part in (self._statements, self._queries, self._copies, self._connection):
            _close_quietly(part)


def translate(error: adbc.Error) -> PenstockError:
    """Turn a driver's error into `Unavailable`, `Rejected` or `Refused`."""
    words = " ".join(str(error).split())
    details = {_text(name): _text(value) for name, value in error.details or () if value}
    parts = [details[name] for name in _WORDS if name in details]
    if parts:
        words = ": ".join(parts)
    if error.sqlstate is None and error.status_code in _BAD_VALUE:
        return Rejected(f"PostgreSQL's driver does not take a row: {words}")
    if error.sqlstate is None and error.status_code == adbc.AdbcStatusCode.NOT_IMPLEMENTED:
        return Refused(f"PostgreSQL's driver cannot do this: {words}")
    return connection.from_sqlstate(error.sqlstate, words)


def _text(part: str | bytes) -> str:
    return part.decode() if isinstance(part, bytes) else part


def _sliced(table: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in table.to_batches(max_chunksize=SLICE):
        yield batch
        faults.point("copying")


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _close_quietly(part: driver.Cursor | driver.Connection) -> None:
    try:
        part.close()
    except adbc.Error:  # the server is gone already
        return
