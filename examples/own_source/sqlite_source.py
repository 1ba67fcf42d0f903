"""A source of your own: the new rows of an SQLite table. Twenty lines are enough.

    penstock run sqlite_source.py

The framework lands what `poll` yields with its cursor in one transaction, calls it again with the
cursor that was committed last, and waits when it raises `Unavailable`. So a source keeps nothing,
repeats nothing, and needs to be right about one thing only: to go on after its cursor.
"""

import json
import sqlite3
from collections.abc import Iterator

import penstock as ps
from penstock.errors import Unavailable
from penstock.interfaces import Clock, Cursor, Framing, Response


class SqliteTable:
    """Rows of a table in the order of their `rowid`, each once. Changes are not seen."""

    framing = Framing(many=True)  # a response is a JSON array of records

    def __init__(self, file: str, table: str, every: float | None = 1.0) -> None:
        self.file, self.table, self.every = file, table, every

    def describe(self) -> str:
        return f"sqlite {self.file}, table {self.table}"

    def check(self) -> None:
        list(self.poll(None, clock=None))

    def poll(self, cursor: Cursor, clock: Clock | None) -> Iterator[Response]:
        after = cursor or 0
        rows_after = f"SELECT rowid AS _row, * FROM {self.table} WHERE rowid > ?"  # noqa: S608
        query = f"{rows_after} ORDER BY rowid LIMIT 1000"
        try:
            with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as connection:
                connection.row_factory = sqlite3.Row
                while rows := [dict(row) for row in connection.execute(query, [after])]:
                    after = rows[-1]["_row"]
                    yield Response(json.dumps(rows).encode(), cursor=after)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{self.describe()}: {error}") from error


class Order(ps.Contract):
    id: str = ps.key()
    pieces: int


pipeline = ps.Pipeline("orders")
orders = pipeline.source(SqliteTable("orders.db", "orders"), Order, land="raw_orders")
orders.topic("orders").sink("orders", store="warehouse")
