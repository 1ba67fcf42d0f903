"""Reads rows in the order of a column that grows, as far as they are complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from penstock.errors import Refused, Unavailable
from penstock.interfaces import Clock
from penstock.postgresql import connection
from penstock.sources.postgresql import session, tables
from penstock.sources.postgresql.tables import Column, Page, Table, Types, identifier, raw

if TYPE_CHECKING:
    from penstock.sources.postgresql.session import Session

_STEP = 0.1
_PATIENCE = 60.0
_TIMES = frozenset({1082, 1114, 1184})
_FLOATS = frozenset({700, 701, 1700})


@dataclass(frozen=True)
class Wanted:
    """What a program asked for; see `Postgres`."""

    url: str
    schema: str
    table: str
    cursor: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None
    margin: float
    batch: int | None


def check(wanted: Wanted) -> list[str]:
    """Read one row, and say what is worth a look.

    Raises:
        Refused: A run would be refused.
        Unavailable: The server cannot be reached.
    """
    with closing(_opened(wanted)) as opened:
        page = replace(_page(opened, wanted), most=1)
        for _ in tables.pages(opened, page, None, lambda: None):
            break
    column = page.order[0]
    if column.required:
        return []
    return [f"rows whose {column.name} is null are never read; make it NOT NULL"]


def read(
    wanted: Wanted, after: list[str] | None, clock: Clock
) -> Iterator[tuple[bytes, list[str]]]:
    """Yield lines of rows behind `after`, and the order values of the last of them."""
    with closing(_opened(wanted)) as opened:
        page = _page(opened, wanted)
        bound = _bound(opened, page)
        if bound is None:
            return
        clock.wait(wanted.margin)
        _await_writers(opened, clock)
        types = Types(opened)
        literals = [types.literal(column.type) for column in page.columns]
        names = tables.names([column.name for column in page.columns])
        page = _bounded(page, bound)
        for rows, last in tables.pages(opened, page, after, lambda: clock.wait(0)):
            yield b"".join(tables.line(names, literals, row) for row in rows), last


def _opened(wanted: Wanted) -> Session:
    return session.read(wanted.url, f"source {wanted.table}")


def _page(opened: Session, wanted: Wanted) -> Page:
    """What is read, in which order."""
    table = tables.find(opened, wanted.schema, wanted.table)
    key = wanted.key or table.key
    if not key:
        raise Refused(
            f"{table.words} has no primary key; write key= with columns that tell rows of the "
            f"same {wanted.cursor} apart"
        )
    order = tuple(table.column(name) for name in (wanted.cursor, *key))
    _refuse_nulls(table, order[1:])
    columns = table.columns
    if wanted.columns is not None:
        columns = tuple(table.column(name) for name in wanted.columns)
    return Page(table, columns, order, _finite(order[0]), wanted.batch)


def _refuse_nulls(table: Table, key: tuple[Column, ...]) -> None:
    for column in key:
        if table.kind in "rp" and not column.required:
            raise Refused(
                f"{column.name} of {table.words} may be null, so it cannot tell rows apart; make "
                "it NOT NULL, or choose another key="
            )


def _bound(opened: Session, page: Page) -> str | None:
    """The greatest value that there is; None when there are no rows."""
    query = sql.SQL("SELECT max({}) FROM {} WHERE {}").format(
        identifier(page.order[0].name),
        identifier(page.table.schema, page.table.name),
        page.where,
    )
    with connection.errors():
        result = opened.execute(query, ()).pgresult
    value = result.get_value(0, 0) if result else None
    return None if value is None else value.decode()


def _await_writers(opened: Session, clock: Clock) -> None:
    """Wait until every transaction has ended that is writing now.

    Each holds a lock on its own number until all can see what it wrote. A snapshot would not do:
    it does not tell a transaction that is running from one that is still to come.
    """
    left = writers = _writers(opened)
    waited = 0.0
    while left := left & writers:
        if waited >= _PATIENCE:
            raise Unavailable(
                "a transaction of the server has been writing for more than a minute, and its rows "
                "may belong before others that are there; pg_stat_activity shows it"
            )
        clock.wait(_STEP)
        waited += _STEP
        writers = _writers(opened)


def _writers(opened: Session) -> frozenset[str]:
    query = (
        "SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid'"
        " AND mode = 'ExclusiveLock' AND granted"
    )
    with connection.errors():
        return frozenset(number for (number,) in opened.execute(query).fetchall())


def _bounded(page: Page, bound: str) -> Page:
    column = page.order[0]
    value = sql.SQL("{}::").format(sql.Literal(bound.replace("%", "%%"))) + raw(column.written)
    most = sql.SQL("{} <= {}").format(identifier(column.name), value)
    return replace(page, where=sql.SQL("{} AND {}").format(page.where, most))


def _finite(column: Column) -> sql.Composed:
    """The condition that a value is neither null nor without an end."""
    name = identifier(column.name)
    if column.type in _TIMES:
        return sql.SQL("isfinite({})").format(name)
    if column.type in _FLOATS:
        return sql.SQL("({0} > '-Infinity' AND {0} < 'Infinity')").format(name)
    return sql.SQL("{} IS NOT NULL").format(name)
