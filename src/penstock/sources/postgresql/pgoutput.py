"""Decodes what `pgoutput` sends: PostgreSQL's logical replication, protocol version 1, as text.

Strict: a message that is not exactly one of those in the manual is `Malformed`, never guessed at.
The formats are those of "Logical Replication Message Formats" in PostgreSQL's manual.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

_BEGIN = struct.Struct("!QqI")
_COMMIT = struct.Struct("!BQQq")
_OID = struct.Struct("!I")
_SHORT = struct.Struct("!H")
_LENGTH = struct.Struct("!i")
_COLUMN_TYPE = struct.Struct("!Ii")
_TRUNCATE = struct.Struct("!IB")
_MESSAGE = struct.Struct("!BQ")
_LSN = struct.Struct("!Q")


class Malformed(ValueError):
    """Bytes that are no message of the protocol."""


class Unchanged(Enum):
    """Stands for a large value that an update left alone, and that was not sent."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Value = bytes | None | Unchanged
Values = list[Value]


class Begin(NamedTuple):
    """A transaction begins: where its commit lies, when it was, and its number."""

    final: int
    time: int
    xid: int


class Commit(NamedTuple):
    """A transaction ends at `end`; its commit record lies at `lsn`."""

    lsn: int
    end: int
    time: int


class Column(NamedTuple):
    """A column of a relation; `key`: whether it is part of the replica identity."""

    key: bool
    name: str
    type: int
    modifier: int


class Relation(NamedTuple):
    """A table as it is for the changes that follow; `identity` is its replica identity."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


class Type(NamedTuple):
    """A type that is not built in."""

    oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    """A new row."""

    oid: int
    new: Values


class Update(NamedTuple):
    """A row changed. `old` is None when neither key nor identity ask for it; `full`: all of it."""

    oid: int
    old: Values | None
    full: bool
    new: Values


class Delete(NamedTuple):
    """A row is gone; `full`: whether `old` is all of it or its key alone."""

    oid: int
    old: Values
    full: bool


class Truncate(NamedTuple):
    """Tables were emptied."""

    oids: tuple[int, ...]
    options: int


class Origin(NamedTuple):
    """The transaction came from another server."""

    lsn: int
    name: str


class Message(NamedTuple):
    """What somebody wrote by `pg_logical_emit_message`."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Decoded = Begin | Commit | Relation | Type | Insert | Update | Delete | Truncate | Origin | Message


def decode(data: bytes) -> Decoded:
    """Decode one message.

    Raises:
        Malformed: It is none, or has something behind it.
    """
    reader = _READERS.get(data[:1])
    if reader is None:
        raise Malformed(f"{data[:1]!r} is no kind of message of pgoutput")
    try:
        message, end = reader(data)
    except (struct.error, IndexError, ValueError) as error:
        raise Malformed(f"a broken message of kind {data[:1]!r}: {error}") from None
    if end != len(data):
        raise Malformed(f"{len(data) - end} bytes too many in a message of kind {data[:1]!r}")
    return message


def _values(data: bytes, at: int) -> tuple[Values, int]:
    (count,) = _SHORT.unpack_from(data, at)
    at += 2
    values: Values = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t
            (length,) = _LENGTH.unpack_from(data, at)
            at += 4
            if length < 0 or at + length > len(data):
                raise Malformed(f"a value of {length} bytes")
            values.append(data[at : at + length])
            at += length
        elif kind == 0x6E:  # n
            values.append(None)
        elif kind == 0x75:  # u
            values.append(UNCHANGED)
        else:
            raise Malformed(f"a value of kind {kind:#x}")
    return values, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def _begin(data: bytes) -> tuple[Begin, int]:
    return Begin(*_BEGIN.unpack_from(data, 1)), 21


def _commit(data: bytes) -> tuple[Commit, int]:
    flags, lsn, end, time = _COMMIT.unpack_from(data, 1)
    if flags:
        raise Malformed(f"flags {flags}")
    return Commit(lsn, end, time), 26


def _origin(data: bytes) -> tuple[Origin, int]:
    (lsn,) = _LSN.unpack_from(data, 1)
    name, at = _text(data, 9)
    return Origin(lsn, name), at


def _relation(data: bytes) -> tuple[Relation, int]:
    (oid,) = _OID.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    identity = chr(data[at])
    if identity not in "dnfi":
        raise Malformed(f"replica identity {identity!r}")
    (count,) = _SHORT.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        if flags > 1:
            raise Malformed(f"a column's flags {flags}")
        column, at = _text(data, at + 1)
        type_, modifier = _COLUMN_TYPE.unpack_from(data, at)
        at += 8
        columns.append(Column(flags == 1, column, type_, modifier))
    return Relation(oid, schema, name, identity, tuple(columns)), at


def _type(data: bytes) -> tuple[Type, int]:
    (oid,) = _OID.unpack_from(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    return Type(oid, schema, name), at


def _insert(data: bytes) -> tuple[Insert, int]:
    (oid,) = _OID.unpack_from(data, 1)
    _expect(data, 5, b"N")
    values, at = _values(data, 6)
    return Insert(oid, values), at


def _update(data: bytes) -> tuple[Update, int]:
    (oid,) = _OID.unpack_from(data, 1)
    at, old, full = 5, None, False
    if data[5:6] in (b"K", b"O"):
        full = data[5:6] == b"O"
        old, at = _values(data, 6)
    _expect(data, at, b"N")
    new, at = _values(data, at + 1)
    return Update(oid, old, full, new), at


def _delete(data: bytes) -> tuple[Delete, int]:
    (oid,) = _OID.unpack_from(data, 1)
    full = data[5:6] == b"O"
    if not full:
        _expect(data, 5, b"K")
    old, at = _values(data, 6)
    return Delete(oid, old, full), at


def _truncate(data: bytes) -> tuple[Truncate, int]:
    count, options = _TRUNCATE.unpack_from(data, 1)
    if options > 3:
        raise Malformed(f"options {options} of a truncate")
    oids = struct.unpack_from(f"!{count}I", data, 6)
    return Truncate(oids, options), 6 + 4 * count


def _message(data: bytes) -> tuple[Message, int]:
    flags, lsn = _MESSAGE.unpack_from(data, 1)
    if flags > 1:
        raise Malformed(f"flags {flags}")
    prefix, at = _text(data, 10)
    (length,) = _LENGTH.unpack_from(data, at)
    at += 4
    if length < 0 or at + length > len(data):
        raise Malformed(f"a content of {length} bytes")
    return Message(flags == 1, lsn, prefix, data[at : at + length]), at + length


def _expect(data: bytes, at: int, kind: bytes) -> None:
    if data[at : at + 1] != kind:
        raise Malformed(f"{data[at : at + 1]!r} where {kind!r} must be")


_READERS: dict[bytes, Callable[[bytes], tuple[Decoded, int]]] = {
    b"B": _begin,
    b"C": _commit,
    b"O": _origin,
    b"R": _relation,
    b"Y": _type,
    b"I": _insert,
    b"U": _update,
    b"D": _delete,
    b"T": _truncate,
    b"M": _message,
}
