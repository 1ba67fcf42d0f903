"""Reads one value slowly and exactly: this module defines what reading Avro means.

The fast way (`fast`) takes only what it can prove to be the same; all else comes here, and every
dead letter's cause is found here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

from penstock.contract.documents import DEPTH, LARGEST, TOO_DEEP, Number, Problem
from penstock.contract.scalars import scalar
from penstock.contract.types import Field, Type
from penstock.serdes.avro.parse import Enum, Plain
from penstock.serdes.avro.resolve import Choice, Items, Node, Null, Object, Value, Wrong

CUT_SHORT = "ends in the middle of a record"
EMPTY_ITEMS = 1 << 16
"""Elements that a list may have in all without taking up a byte."""

DATE_RANGE = (date.min.toordinal() - 719163, date.max.toordinal() - 719163)
"""Days of the years 1 to 9999, from 1970 on."""
DATETIME_RANGE = (DATE_RANGE[0] * 86_400_000_000, (DATE_RANGE[1] + 1) * 86_400_000_000 - 1)
"""The same in microseconds."""
FRACTION = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000, "timestamp-nanos": 10**9}
"""Parts of a second that a logical type counts."""

_WIDEST = 100
"""Bytes of a decimal that are looked at."""

_EXACT = Context(prec=300, Emax=MAX_EMAX, Emin=MIN_EMIN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FLOATS = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}
_BITS = {"int": 32, "long": 64}


def decode(node: Node, payload: bytes) -> dict[str, Any]:
    """Read one payload into the values of a row.

    Raises:
        Problem: It is no record; says why.
    """
    if len(payload) > LARGEST:
        raise Problem(f"larger than {LARGEST >> 20} MiB", payload[:20])
    reader = _Reader(payload)
    row = reader.read(node, 1)
    if reader.at < len(payload):
        raise Problem("something follows the document", payload[reader.at : reader.at + 20])
    assert isinstance(row, dict)  # noqa: S101 - `resolve` gives an object
    return row


class _Reader:
    """Walks through one payload; `at` is where it stands."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._room = len(payload) + EMPTY_ITEMS
        self.at = 0

    def read(self, node: Node, depth: int) -> Any:
        if depth > DEPTH:
            raise Problem(TOO_DEEP)
        if isinstance(node, Value):
            return self._value(node)
        if isinstance(node, Null):
            return _null(node)
        if isinstance(node, Wrong):
            raise Problem(node.rule, field=node.field)
        if isinstance(node, Choice):
            return self.read(self._chosen(node), depth)
        return self._object(node, depth) if isinstance(node, Object) else self._items(node, depth)

    def _object(self, node: Object, depth: int) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(field.name for field in node.fields)
        for member, field in node.members:
            if field is None:
                self.read(member, depth + 1)
            else:
                row[field.name] = self._member(member, field, depth)
        return row

    def _member(self, node: Node, field: Field, depth: int) -> Any:
        try:
            return self.read(node, depth + 1)
        except Problem as problem:
            raise problem.inside(field.json_name) from None

    def _items(self, node: Items, depth: int) -> list[Any]:
        items: list[Any] = []
        done = 0
        while count := self._block():
            for number in range(done, done + count):
                item = self._item(node, number, depth)
                if node.type is not None:
                    items.append(item)
            done += count
        return items

    def _block(self) -> int:
        """Read how many items come next; a negative number has the block's bytes behind it."""
        count = self._number(64)
        if count < 0:
            count, size = -count, self._number(64)
            if not 0 <= size <= len(self._payload) - self.at:
                raise Problem(CUT_SHORT, Number(size))
        self._room -= count
        if self._room < 0:
            raise Problem("a list of more elements than there are bytes", Number(count))
        return count

    def _item(self, node: Items, number: int, depth: int) -> Any:
        if node.named:
            self._string()
        if node.type is None:
            return self.read(node.item, depth + 1)
        try:
            return self.read(node.item, depth + 1)
        except Problem as problem:
            raise problem.inside(str(number)) from None

    def _chosen(self, node: Choice) -> Node:
        number = self._number(64)
        if not 0 <= number < len(node.branches):
            raise Problem("no such branch of a union", Number(number))
        return node.branches[number]

    # --- plain values ---------------------------------------------------------------------------

    def _value(self, node: Value) -> Any:
        raw = self._raw(node.schema)
        return raw if node.type is None else _converted(node.schema, node.type, raw)

    def _raw(self, schema: Plain | Enum) -> Any:
        if isinstance(schema, Enum):
            return self._symbol(schema)
        if schema.kind in _BITS:
            return self._number(_BITS[schema.kind])
        if schema.kind in _FLOATS:
            form = _FLOATS[schema.kind]
            return form.unpack(self._take(form.size))[0]
        if schema.kind == "boolean":
            return self._bool()
        if schema.kind == "fixed":
            return self._take(schema.size)
        return self._string() if schema.kind == "string" else self._bytes()

    def _symbol(self, schema: Enum) -> str:
        number = self._number(32)
        if not 0 <= number < len(schema.symbols):
            raise Problem("no such symbol of an enum", Number(number))
        return schema.symbols[number]

    def _bool(self) -> bool:
        byte = self._take(1)
        if byte not in (b"\0", b"\1"):
            raise Problem("a bool is 0 or 1", byte)
        return byte == b"\1"

    def _string(self) -> str:
        return _text(self._bytes())

    def _bytes(self) -> bytes:
        length = self._number(64)
        if length < 0:
            raise Problem("a length below 0", Number(length))
        return self._take(length)

    def _take(self, length: int) -> bytes:
        end = self.at + length
        if end > len(self._payload):
            raise Problem(CUT_SHORT, self._payload[self.at : self.at + 20])
        taken = self._payload[self.at : end]
        self.at = end
        return taken

    def _number(self, bits: int) -> int:
        """Read an int: groups of seven bits, the least first; its sign is the last bit."""
        number = shift = 0
        while True:
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= 70:
                raise Problem(f"an int beyond {bits} bits", self._payload[self.at - 10 : self.at])
        if number >> bits:
            raise Problem(f"an int beyond {bits} bits", Number((number >> 1) ^ -(number & 1)))
        return (number >> 1) ^ -(number & 1)


def _null(node: Null) -> None:
    if not node.allowed:
        raise Problem("null in a field that is not nullable", "null")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Problem("not valid UTF-8", raw[error.start : error.start + 20]) from None


def _converted(schema: Plain | Enum, type: Type, raw: Any) -> Any:
    """Turn what was written into what a column of the type holds."""
    if type.kind == "bytes":
        return raw.encode() if isinstance(raw, str) else raw
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, float):
        return _finite(raw)
    if isinstance(schema, Plain) and type.kind in _BY_LOGICAL:
        return _BY_LOGICAL[type.kind](type, schema, raw)
    if isinstance(raw, bytes):
        raw = _text(raw)
    return scalar(type, Number(raw) if isinstance(raw, int) else raw)


def _finite(raw: float) -> float:
    if not math.isfinite(raw):
        raise Problem("a float is finite", Number(raw))
    return raw


def _uuid(type: Type, schema: Plain, raw: str | bytes) -> Any:
    if schema.kind == "fixed":
        assert isinstance(raw, bytes)  # noqa: S101
        if len(raw) != 16:
            raise Problem(f"expected {type.words}, got bytes", raw)
        digits = raw.hex()
        raw = "-".join([digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]])
    return scalar(type, _text(raw) if isinstance(raw, bytes) else raw)


def _date(type: Type, schema: Plain, days: int) -> date:
    if not DATE_RANGE[0] <= days <= DATE_RANGE[1]:
        raise Problem("a date of the years 1 to 9999", Number(days))
    return date.fromordinal(days + 719163)


def _datetime(type: Type, schema: Plain, count: int) -> datetime:
    micros, finer = divmod(count * 1_000_000, FRACTION[schema.logical])
    if finer:
        raise Problem("a datetime finer than microseconds", Number(count))
    if not DATETIME_RANGE[0] <= micros <= DATETIME_RANGE[1]:
        raise Problem("a datetime of the years 1 to 9999", Number(count))
    return _EPOCH + timedelta(microseconds=micros)


def _decimal(type: Type, schema: Plain, raw: int | bytes) -> Any:
    """Read an unscaled number by the writer's scale; the contract's digits must hold it."""
    if isinstance(raw, int):
        return scalar(type, Number(raw))
    if not 0 < len(raw) <= _WIDEST:
        raise Problem(f"expected {type.words}, got bytes", raw)
    unscaled = int.from_bytes(raw, "big", signed=True)
    return scalar(type, Number(f"{Decimal(unscaled).scaleb(-schema.scale, _EXACT):f}"))


_BY_LOGICAL: dict[str, Callable[[Type, Plain, Any], Any]] = {
    "uuid": _uuid,
    "date": _date,
    "datetime": _datetime,
    "decimal": _decimal,
}
