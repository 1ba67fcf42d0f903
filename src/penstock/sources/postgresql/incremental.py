"""The `Postgres` source: rows of a table or view, as far as a column has grown.

Guarantee: see the class; rows that are deleted, and changes that do not move the column, are not
seen. `PostgresChanges` sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.errors import ProfileError, Refused
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.sources.credentials import Text, resolve
from penstock.sources.declared import require, seconds

if TYPE_CHECKING:
    from penstock.sources.postgresql.rows import Wanted


class Postgres:
    """Read the rows of a table in the order of a column that grows, such as `updated_at`.

    Each row is landed as a line of JSON. Rows are read up to the greatest value that was there
    when the poll began, after two waits, so that a transaction that commits late is not passed
    over: until `margin` has gone by, and until every transaction has ended that was writing then.
    A row is lost only if its transaction began to write more than `margin` after it took the
    column's value. Rows with the same value are told apart by the key, so none is lost or doubled
    where a page ends. Rows whose value is null, infinite or NaN are never read.

    Args:
        url: `postgresql://…`; its role needs SELECT on the table, nothing else.
        table: The table's or view's name, without quotes.
        cursor: A column that is greater in each row that is new or changed; an index on it and the
            key makes polls quick.
        key: Columns that tell rows of the same value apart; None is the primary key.
        schema: The table's schema.
        columns: Which columns to land; None is all.
        every: Seconds (or `"1m"`) from the end of one poll to the next; None to poll once.
        margin: Seconds (or `"500ms"`) to wait for transactions that have taken a value and not
            written yet. More than the column's step: above one second for whole seconds.
        batch: Rows in one response at most; None for as many as make a megabyte.

    Example:
        `ps.Postgres(ps.env("SHOP_DB"), table="orders", cursor="updated_at", every="10s")`
    """

    def __init__(  # noqa: PLR0913 - these keywords are the language of the program
        self,
        url: Text,
        *,
        table: str,
        cursor: str,
        key: str | Sequence[str] | None = None,
        schema: str = "public",
        columns: Sequence[str] | None = None,
        every: str | float | None = None,
        margin: str | float = 5,
        batch: int | None = None,
    ) -> None:
        require(batch is None or batch > 0, f"batch={batch} would land nothing")
        self.framing = Framing(lines=True)
        self.every = None if every is None else seconds(every, "every")
        self._url = url
        self._place = (schema, table)
        keys = (key,) if isinstance(key, str) else tuple(key or ())
        chosen = None if columns is None else tuple(columns)
        self._asked = (schema, table, cursor, keys, chosen, seconds(margin, "margin"), batch)

    def describe(self) -> str:
        from penstock.postgresql import connection

        try:
            return f"{'.'.join(self._place)} in {connection.redact(resolve(self._url))}"
        except ProfileError as error:
            return str(error)

    def check(self) -> list[str]:
        from penstock.sources.postgresql import rows

        return rows.check(self._wanted())

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        from penstock.sources.postgresql import rows

        for body, after in rows.read(self._wanted(), _after(cursor), clock):
            yield Response(body, {"after": after})

    def _wanted(self) -> Wanted:
        from penstock.sources.postgresql.rows import Wanted

        return Wanted(resolve(self._url), *self._asked)


def _after(cursor: Cursor) -> list[str] | None:
    if cursor is None:
        return None
    match cursor:
        case {"after": [str(), *_] as after} if len(cursor) == 1:
            return [str(value) for value in after]
    raise Refused(
        f"the cursor {cursor!r} was kept by another kind of source; land this one under a new name"
    )
