"""What the catalog says of a table, and its rows as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from penstock.errors import Refused
from penstock.postgresql import connection
from penstock.sources.postgresql import literals
from penstock.sources.postgresql.literals import Literal

if TYPE_CHECKING:
    from penstock.sources.postgresql.session import Session

Row = list[bytes | None]
"""A row's values as text."""

_PAGE_BYTES = 1 << 20
_FIRST_ROWS = 100

_TABLE = """
    SELECT c.oid::bigint, c.relkind::text, c.relreplident::text, (
        SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
        FROM pg_index i JOIN pg_attribute a
            ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
            AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

_COLUMNS = """
    SELECT attname::text, atttypid::bigint, format_type(atttypid, atttypmod), attnotnull,
        attgenerated <> '', attlen < 0 AND attstorage IN ('x', 'e')
    FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

_TYPE = """
    SELECT t.typtype::text, t.typbasetype::bigint, e.oid::bigint, e.typdelim::text
    FROM pg_type t LEFT JOIN pg_type e ON e.typarray = t.oid WHERE t.oid = %s
"""


@dataclass(frozen=True)
class Column:
    """A column: its type by OID and as SQL writes it, and whether its values may lie apart."""

    name: str
    type: int
    written: str
    required: bool
    generated: bool
    large: bool


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        oid: Its number; another one when it is made again.
        schema: Its schema's name.
        name: Its own.
        kind: `r` for a table, `p` for a partitioned one, `v`, `m`, `f`.
        identity: Its replica identity: `d`, `i`, `f` or `n`.
        key: Columns of the primary key, or of the replica identity's index; may be empty.
        columns: All of them, in order.
    """

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def words(self) -> str:
        """Its name for people and records."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column:
        """Return a column by name.

        Raises:
            Refused: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns)
        raise Refused(f"table {self.words} has no column {name!r}; it has {names}")


def find(session: Session, schema: str, name: str) -> Table:
    """Look a table up.

    Raises:
        Refused: There is none.
    """
    with connection.errors():
        row = session.execute(_TABLE, (schema, name)).fetchone()
        if row is None:
            raise Refused(
                f"there is no table {name!r} in the schema {schema!r}; write table= and schema= as "
                "they are in the database, without quotes, or make the table"
            )
        oid, kind, identity, key = row
        found = session.execute(_COLUMNS, (oid,)).fetchall()
    columns = tuple(Column(*column) for column in found)
    return Table(oid, schema, name, kind, identity, tuple(key or ()), columns)


class Types:
    """How values of each type become JSON; asks the catalog for types that are not built in."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known = dict(literals.BUILT_IN)

    def literal(self, oid: int) -> Literal:
        """How a value of the type with this OID is written."""
        if oid not in self._known:
            self._known[oid] = self._learn(oid)
        return self._known[oid]

    def _learn(self, oid: int) -> Literal:
        with connection.errors():
            row = self._session.execute(_TYPE, (oid,)).fetchone()
        kind, base, element, delimiter = row or ("", 0, None, "")
        if kind == "d":
            return self.literal(base)
        if element is not None:
            return literals.array(self.literal(element), delimiter)
        return literals.text


def names(columns: Sequence[str]) -> tuple[bytes, ...]:
    """What goes before each value of an object with these names."""
    marks = [b"{", *[b","] * (len(columns) - 1)]
    return tuple(
        mark + literals.text(name.encode()) + b":"
        for mark, name in zip(marks, columns, strict=True)
    )


def line(names: Sequence[bytes], literals: Sequence[Literal], row: Row) -> bytes:
    """A row as an object on a line."""
    parts = [
        name + (b"null" if value is None else literal(value))
        for name, literal, value in zip(names, literals, row, strict=True)
    ]
    return b"".join(parts) + b"}\n"


@dataclass(frozen=True)
class Page:
    """Where a page of rows begins and how it is chosen.

    Args:
        order: Columns that order the rows; together they are unique.
        where: A further condition.
        most: Rows at most; None for as many as make a good size.
    """

    table: Table
    columns: tuple[Column, ...]
    order: tuple[Column, ...]
    where: sql.Composable | None = None
    most: int | None = None

    def query(self, after: Sequence[str] | None, count: int) -> sql.Composed:
        """The statement for rows behind `after`, whose values are its parameters."""
        conditions = [self.where] if self.where else []
        if after is not None:
            row = [sql.SQL("%s::") + raw(column.written) for column in self.order]
            conditions.append(
                sql.SQL("({}) > ({})").format(_listed(self.order), sql.SQL(", ").join(row))
            )
        where = (
            sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")
        )
        return sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT {}").format(
            _listed((*self.columns, *self.order)),
            identifier(self.table.schema, self.table.name),
            where,
            _listed(self.order),
            sql.Literal(count),
        )


def raw(statement: str) -> sql.SQL:
    """Part of a statement as the server itself wrote it, such as a type's name."""
    return sql.SQL(statement.replace("%", "%%"))


def identifier(*parts: str) -> sql.Identifier:
    """A quoted name, for a statement that is run with parameters: psycopg looks for % in it."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def _listed(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join(identifier(column.name) for column in columns)


def pages(
    session: Session, page: Page, after: Sequence[str] | None, pause: Callable[[], None]
) -> Iterator[tuple[list[Row], list[str]]]:
    """Yield rows in the order of their key, in pages of about a megabyte.

    Args:
        session: In a transaction when all pages shall be of one moment.
        page: What to read.
        after: Values of the order columns to go on behind; None from the beginning.
        pause: Called before each page; raises to end.

    Yields:
        Rows with the values of `page.columns`, as text; and the order columns of the last one.
    """
    count = page.most or _FIRST_ROWS
    width = len(page.columns)
    while True:
        pause()
        with connection.errors():
            cursor = session.execute(page.query(after, count), after or ())
        result = cursor.pgresult
        assert result is not None  # noqa: S101 - a SELECT
        fields = range(result.nfields)
        rows = [[result.get_value(n, field) for field in fields] for n in range(result.ntuples)]
        if not rows:
            return
        after = [(value or b"").decode() for value in rows[-1][width:]]
        yield [row[:width] for row in rows], after
        if len(rows) < count:
            return
        if page.most is None:
            size = sum(len(value) for row in rows for value in row if value is not None)
            count = max(1, min(5000, len(rows) * _PAGE_BYTES // max(size, 1)))
