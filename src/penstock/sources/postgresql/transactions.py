"""Makes lines of the messages of `pgoutput`: one for each change of one table, in commit order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal as OneOf

from penstock.errors import Refused
from penstock.sources.postgresql import pgoutput
from penstock.sources.postgresql.literals import Literal, text
from penstock.sources.postgresql.pgoutput import UNCHANGED, Relation, Values
from penstock.sources.postgresql.standing import Standing, lsn_text
from penstock.sources.postgresql.tables import names

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Truncates = OneOf["refuse", "keep"]


class Shape:
    """How rows of a table become JSON.

    Args:
        columns: Names of the columns, in the order of the values.
        literals: How each one's values are written.
        key: Names of the key's columns.
    """

    def __init__(
        self, columns: Sequence[str], literals: Sequence[Literal], key: Sequence[str]
    ) -> None:
        self._columns = list(zip(names(columns), literals, strict=True))
        self._names = columns
        at = [columns.index(name) for name in key]
        self._key = [(n, before, literals[n]) for n, before in zip(at, names(key), strict=True)]

    def row(self, values: Values) -> bytes:
        """The row as an object; values that were not sent are left out."""
        if len(values) != len(self._columns):
            raise pgoutput.Malformed(f"{len(values)} values for {len(self._columns)} columns")
        parts = []
        for (before, literal), value in zip(self._columns, values, strict=True):
            if value is None:
                parts.append(before + b"null")
            elif value is not UNCHANGED:
                parts.append(before + literal(value))
        made = b"".join(parts)
        return b"{" + made[1:] + b"}" if made else b"{}"

    def key(self, values: Values) -> bytes:
        """The key as an object."""
        parts = []
        for at, before, literal in self._key:
            value = values[at]
            if not isinstance(value, bytes):
                raise pgoutput.Malformed(f"no value for {self._names[at]!r} of the key")
            parts.append(before + literal(value))
        return b"".join(parts) + b"}"

    def unchanged(self, values: Values) -> list[str]:
        """Names of the columns whose values were not sent."""
        return [n for n, value in zip(self._names, values, strict=True) if value is UNCHANGED]


def read_line(table: bytes, shape: Shape, values: Values) -> bytes:
    """The line of a row that was read, not changed."""
    return b'{"op":"read","table":%b,"key":%b,"after":%b}\n' % (
        table,
        shape.key(values),
        shape.row(values),
    )


class Transactions:
    """The state of a stream of changes.

    Args:
        standing: What is landed already; it comes again and is left out.
        table: Schema and name of the table.
        literal: How values of a type are written, by its OID.
        truncates: What to do when the table is emptied.
    """

    def __init__(
        self,
        standing: Standing,
        table: tuple[str, str],
        literal: Callable[[int], Literal],
        truncates: Truncates,
    ) -> None:
        self.standing = standing
        """Where the stream stands behind the last line that was given."""
        self.open = False
        """Whether a transaction has begun and not ended."""
        self.truncated: list[str] = []
        """Truncates that were passed over since they were last taken from here."""
        self._place = table
        self._name = text(".".join(table).encode())
        self._literal = literal
        self._truncates = truncates
        self._shape: Shape | None = None
        self._skip = 0
        self._head = b""

    def take(self, data: bytes) -> list[bytes]:
        """Take a message; return the lines that it gives.

        Raises:
            Refused: It shows that what was landed does not go on here, or a truncate.
            Malformed: It is no message.
        """
        message = pgoutput.decode(data)
        if isinstance(message, pgoutput.Insert):
            return self._insert(message)
        if isinstance(message, pgoutput.Update):
            return self._update(message)
        if isinstance(message, pgoutput.Delete):
            return self._delete(message)
        if isinstance(message, pgoutput.Begin):
            self._begin(message)
        elif isinstance(message, pgoutput.Commit):
            self._commit(message)
        elif isinstance(message, Relation):
            self._relation(message)
        elif isinstance(message, pgoutput.Truncate):
            self._truncate(message)
        return []

    def _begin(self, message: pgoutput.Begin) -> None:
        at = self.standing
        if self.open:
            raise pgoutput.Malformed("a transaction within a transaction")
        if at.final and message.final > at.final:
            raise Refused(
                f"the transaction at {lsn_text(at.final)} was landed in part, and the slot "
                f"{at.slot!r} does not send the rest; {AGAIN}"
            )
        self.open = True
        self._skip = at.lines if message.final == at.final else 0
        if message.final < at.lsn:
            self._skip = -1
        when = _EPOCH + timedelta(microseconds=message.time)
        self._final, self._lines = message.final, 0
        self._head = b',"lsn":"%b","at":"%b","xid":%d,"table":%b,"n":' % (
            lsn_text(message.final).encode(),
            f"{when:%Y-%m-%dT%H:%M:%S.%f}Z".encode(),
            message.xid,
            self._name,
        )

    def _commit(self, message: pgoutput.Commit) -> None:
        if not self.open or message.lsn != self._final:
            raise pgoutput.Malformed("a commit without its begin")
        if self._skip > self._lines:
            at = self.standing
            raise Refused(
                f"{at.lines} changes of the transaction at {lsn_text(at.final)} are landed, but "
                f"the slot {at.slot!r} now sends {self._lines} of it; {AGAIN}"
            )
        self.open = False
        if message.end > self.standing.lsn and message.lsn >= self.standing.final:
            self.standing = self.standing.at(message.end)

    def _relation(self, message: Relation) -> None:
        ours = message.oid == self.standing.table
        if not ours and (message.schema, message.name) == self._place:
            raise Refused(
                f"the table {'.'.join(self._place)} was dropped and made again: keys that went "
                f"with the old one would stay in the sinks; {AGAIN}"
            )
        if not ours:
            return
        columns = [column.name for column in message.columns]
        flagged = {column.name for column in message.columns if column.key}
        key = set(self.standing.key)
        if not key <= flagged or (message.identity in "di" and key != flagged):
            raise Refused(
                f"the key of {'.'.join(self._place)} was ({', '.join(self.standing.key)}) and is "
                f"({', '.join(sorted(flagged))}) now: its rows can no longer be told apart as "
                f"before. Make it what it was, or {AGAIN}"
            )
        literals = [self._literal(column.type) for column in message.columns]
        self._shape = Shape(columns, literals, self.standing.key)

    def _insert(self, message: pgoutput.Insert) -> list[bytes]:
        shape = self._known(message.oid)
        if shape is None:
            return []
        row = b',"after":%b' % shape.row(message.new)
        return self._given(b"insert", shape.key(message.new), row)

    def _update(self, message: pgoutput.Update) -> list[bytes]:
        shape = self._known(message.oid)
        if shape is None:
            return []
        new, old = message.new, message.old
        gone: list[bytes] = []
        rest = b""
        if old is not None:
            new = [
                was if value is UNCHANGED and was is not None else value
                for value, was in zip(new, old, strict=True)
            ]
            rest = b',"before":%b' % shape.row(old) if message.full else b""
            if (before := shape.key(old)) != shape.key(new):
                gone = self._given(b"delete", before, b',"moved":true' + rest)
        if left := shape.unchanged(new):
            rest += b',"unchanged":[%b]' % b",".join(text(name.encode()) for name in left)
        row = b',"after":%b' % shape.row(new)
        return gone + self._given(b"update", shape.key(new), row + rest)

    def _delete(self, message: pgoutput.Delete) -> list[bytes]:
        shape = self._known(message.oid)
        if shape is None:
            return []
        rest = b',"before":%b' % shape.row(message.old) if message.full else b""
        return self._given(b"delete", shape.key(message.old), rest)

    def _truncate(self, message: pgoutput.Truncate) -> None:
        if self.standing.table not in message.oids or self._skip < 0:
            return
        what = (
            f"{'.'.join(self._place)} was truncated in the transaction at {lsn_text(self._final)}"
        )
        if self._truncates == "refuse":
            raise Refused(
                f"{what}: PostgreSQL does not say which rows went, so they would stay in the "
                'sinks. Empty the sinks yourself and write truncate="keep" to go on behind it, or '
                f"{AGAIN}"
            )
        self.truncated.append(what)

    def _known(self, oid: int) -> Shape | None:
        if oid != self.standing.table:
            return None
        if self._shape is None or not self.open:
            raise pgoutput.Malformed("a change of a table that was not described")
        return self._shape

    def _given(self, op: bytes, key: bytes, rest: bytes) -> list[bytes]:
        """Write a line, unless it is landed already."""
        number = self._lines
        self._lines += 1
        if self._skip < 0 or number < self._skip:
            return []
        self.standing = self.standing.at(self.standing.lsn, self._final, self._lines)
        return [b'{"op":"%b"%b%d,"key":%b%b}\n' % (op, self._head, number, key, rest)]


AGAIN = (
    "land under a new name, with a new slot, to read the table anew (keys that went meanwhile stay "
    "in an upsert sink: empty it first), and drop this slot"
)
"""What always helps."""
