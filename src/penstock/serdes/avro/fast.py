"""Reads many payloads at once, field by field, and says which of them it did not prove.

A cursor walks through every payload at the same time: each step reads one value of each, as a
column. A step never looks at what a length says beyond moving the cursor, so nothing is reserved
for what a payload only claims to hold, and no payload can touch another: a cursor that leaves its
payload never comes back. A row is proven when its cursor ends exactly at its payload's end and
no step lost it; the others are left to `exact`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as counting

import polars as pl
import pyarrow as pa

from penstock.contract.documents import LARGEST
from penstock.contract.forms import utf8
from penstock.serdes.avro.parse import Enum, Plain
from penstock.serdes.avro.resolve import Choice, Items, Node, Object, Value, Wrong
from penstock.serdes.avro.values import converted, lists, or_nulls, series

ROUNDS = 4
FEW = 32
"""After so many elements of lists, the rest is read one by one where only few lists have more."""

DEEPEST = 32
"""How deep a schema may be nested here; one that holds itself is read one by one."""

_PADDING = 16
_INTS = {"int": 2**32, "long": 2**64}
_SIZES = {"float": (4, pl.Float32), "double": (8, pl.Float64)}


@dataclass(frozen=True)
class Table:
    """What the fast way read.

    Args:
        rows: A column for each field, in the order of the proven payloads.
        proven: The numbers of these payloads.
    """

    rows: pl.DataFrame
    proven: pl.Series


def supports(node: Node, depth: int = 0) -> bool:
    """Whether columns can be read by this node: not by one that holds itself."""
    if depth > DEEPEST:
        return False
    if isinstance(node, Object):
        return all(supports(member, depth + 1) for member, _ in node.members)
    if isinstance(node, Choice):
        return all(supports(branch, depth + 1) for branch in node.branches)
    return supports(node.item, depth + 1) if isinstance(node, Items) else True


def read(node: Object | Choice, payloads: pl.Series) -> Table:
    """Read payloads, a Binary series without nulls, of less than 2 GiB together."""
    reading = _Reading(payloads)
    numbers = pl.int_range(len(payloads), dtype=pl.UInt32, eager=True)
    column, at = reading.read(node, _At(numbers, reading.starts))
    sizes = payloads.bin.size()
    good = (at == reading.starts + sizes.cast(pl.UInt32)) & (sizes <= LARGEST)
    rows = column.struct.unnest() if column is not None else pl.DataFrame()
    return Table(rows.filter(good), numbers.filter(good))


@dataclass(frozen=True)
class _At:
    """Cursors: of which payload, and where in the buffer."""

    rows: pl.Series
    places: pl.Series

    def filter(self, mask: pl.Series) -> _At:
        return _At(self.rows.filter(mask), self.places.filter(mask))


Read = tuple[pl.Series | None, pl.Series]
"""What a step gives: a column, if one was asked for, and where the cursors are now."""


class _Reading:
    """All payloads in one buffer, and the place behind it that a lost cursor goes to."""

    def __init__(self, payloads: pl.Series) -> None:
        self._payloads = payloads
        array = payloads.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        _, offsets, data = array.buffers()
        ends = series(pa.Array.from_buffers(pa.int64(), len(array) + 1, [None, offsets]))
        content = series(pa.Array.from_buffers(pa.uint8(), data.size, [None, data]))
        padding = pl.zeros(_PADDING, pl.UInt8, eager=True)
        self._bytes = pl.concat([content, padding], rechunk=True)
        self._size = data.size
        self._lost = data.size + 1
        self.starts = ends[:-1].cast(pl.UInt32)

    def read(self, node: Node, at: _At) -> Read:
        if isinstance(node, Value):
            return self._value(node, at)
        if isinstance(node, Object):
            return self._object(node, at)
        if isinstance(node, Choice):
            return self._choice(node, at)
        if isinstance(node, Items):
            return self._items(node, at)
        if isinstance(node, Wrong) or not node.allowed:
            return None, self._all_lost(at)
        return None, at.places

    # --- records, unions, lists -------------------------------------------------------------------

    def _object(self, node: Object, at: _At) -> Read:
        columns: dict[str, pl.Series] = {}
        places = at.places
        for member, field in node.members:
            column, places = self.read(member, _At(at.rows, places))
            if field is not None:
                columns[field.name] = or_nulls(column, field.type, len(places)).alias(field.name)
        for field in node.fields:
            if field.name not in columns:
                columns[field.name] = or_nulls(None, field.type, len(places)).alias(field.name)
        if not node.fields:
            return None, places
        return pl.DataFrame([columns[f.name] for f in node.fields]).to_struct(), places

    def _choice(self, node: Choice, at: _At) -> Read:
        number, places = self._unsigned(at.places)
        places = self._lose(places, number >= 2 * len(node.branches))
        places = self._lose(places, (number & 1) == 1)
        parts: list[tuple[pl.Series, pl.Series | None, pl.Series]] = []
        for n, branch in enumerate(node.branches):
            mask = number == 2 * n
            if mask.all():
                return self.read(branch, _At(at.rows, places))
            if mask.any():
                part = _At(at.rows, places).filter(mask)
                parts.append((mask.arg_true(), *self.read(branch, part)))
        return self._together(parts, places)

    def _together(
        self, parts: Sequence[tuple[pl.Series, pl.Series | None, pl.Series]], places: pl.Series
    ) -> Read:
        """Put what branches gave for their rows in the order of all rows."""
        for where, _, ends in parts:
            places = places.scatter(where, ends)
        given = [(where, column) for where, column, _ in parts if column is not None]
        if not given:
            return None, places
        column = pl.concat([column for _, column in given])
        where = pl.concat([where for where, _ in given])
        index = pl.repeat(None, len(places), dtype=pl.UInt32, eager=True)
        index = index.scatter(where, pl.int_range(len(where), dtype=pl.UInt32, eager=True))
        return column.gather(index), places

    def _items(self, node: Items, at: _At) -> Read:
        """Read the first items of all lists, then the second ones, and so on."""
        found: list[tuple[pl.Series, pl.Series]] = []
        places, left = at.places, pl.zeros(len(at.rows), pl.Int64, eager=True)
        going = pl.int_range(len(at.rows), dtype=pl.UInt32, eager=True)
        for number in counting():
            left, ends = self._blocks(left, places[going])
            places = places.scatter(going, ends)
            going, left = going.filter(left > 0), left.filter(left > 0) - 1
            if not len(going):
                break
            if number >= ROUNDS and len(going) < FEW:
                places = places.scatter(going, self._lost)
                break
            column, ends = self._item(node, _At(at.rows[going], places[going]))
            places = places.scatter(going, ends)
            if node.type is not None:
                found.append((going, or_nulls(column, node.type.element, len(going))))
        return (lists(node.type, found, len(places)) if node.type else None), places

    def _item(self, node: Items, at: _At) -> Read:
        if node.named:
            _, places = self._bytes_of(at, Plain("string"))
            at = _At(at.rows, places)
        return self.read(node.item, at)

    def _blocks(self, left: pl.Series, places: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Read how many items come next, where a block is at its end."""
        new = left == 0
        if not new.any():
            return left, places
        count, ends = self._signed(places.filter(new), 2**64)
        # Behind a count below 0 comes the block's size in bytes: `exact` looks at that.
        ends = self._lose(ends, (count < 0) | (count > self._size))
        count = count.zip_with(ends < self._lost, pl.Series([0], dtype=pl.Int64))
        where = new.arg_true()
        return left.scatter(where, count), places.scatter(where, ends)

    # --- plain values ---------------------------------------------------------------------------

    def _value(self, node: Value, at: _At) -> Read:
        schema = node.schema
        if isinstance(schema, Enum):
            raw, places = self._symbols(schema, at.places)
        elif schema.kind in _INTS:
            raw, places = self._signed(at.places, _INTS[schema.kind])
        elif schema.kind in _SIZES:
            size, dtype = _SIZES[schema.kind]
            raw, places = self._fixed(at, size)
            raw = raw.bin.reinterpret(dtype=dtype, endianness="little").cast(pl.Float64)
        elif schema.kind == "boolean":
            byte = self._bytes[at.places]
            raw, places = byte == 1, self._lose(self._within(at.places + 1), byte > 1)
        elif schema.kind == "fixed":
            raw, places = self._fixed(at, schema.size)
        else:
            raw, places = self._bytes_of(at, schema)
        if node.type is None:
            return None, places
        column, doubt = converted(schema, node.type, raw)
        return column, self._lose(places, doubt)

    def _symbols(self, schema: Enum, places: pl.Series) -> tuple[pl.Series, pl.Series]:
        number, places = self._unsigned(places)
        wrong = (number >= 2 * len(schema.symbols)) | ((number & 1) == 1)
        if wrong.any():
            places = self._lose(places, wrong)
            number = number.zip_with(~wrong, pl.Series([0], dtype=pl.UInt64))
        symbols = pl.Series(schema.symbols, dtype=pl.String)
        return symbols[(number // 2).cast(pl.UInt32)], places

    def _bytes_of(self, at: _At, schema: Plain) -> tuple[pl.Series, pl.Series]:
        length, places = self._unsigned(at.places)
        wrong = (length > 2 * self._size) | ((length & 1) == 1)
        if wrong.any():
            places = self._lose(places, wrong)
            length = length.zip_with(~wrong, pl.Series([0], dtype=pl.UInt64))
        size = (length // 2).cast(pl.UInt32)
        raw = self._slice(_At(at.rows, places), size)
        places = self._within(places + size)
        if schema.kind != "string":
            return raw, places
        text = utf8(raw)
        return (text, self._lose(places, text.is_null())) if text.null_count() else (text, places)

    def _fixed(self, at: _At, size: int) -> tuple[pl.Series, pl.Series]:
        zeros = pl.Series([bytes(min(size, self._size))], dtype=pl.Binary)
        if size > self._size:
            return zeros.new_from_index(0, len(at.rows)), self._all_lost(at)
        raw = self._slice(at, pl.repeat(size, len(at.rows), dtype=pl.UInt32, eager=True))
        short = raw.bin.size() < size
        if short.any():
            return raw.zip_with(~short, zeros), self._lose(self._within(at.places + size), short)
        return raw, self._within(at.places + size)

    def _slice(self, at: _At, sizes: pl.Series) -> pl.Series:
        """Cut bytes out of the payloads: a view of them, never more than is there."""
        whole = len(at.rows) == len(self._payloads)
        payloads = self._payloads if whole else self._payloads[at.rows]
        starts = self.starts if whole else self.starts[at.rows]
        frame = pl.DataFrame({"payload": payloads, "from": at.places - starts, "size": sizes})
        return frame.select(pl.col("payload").bin.slice("from", "size")).to_series()

    # --- numbers and places ----------------------------------------------------------------------

    def _signed(self, places: pl.Series, most: int) -> tuple[pl.Series, pl.Series]:
        number, places = self._unsigned(places)
        if most < 2**64:
            places = self._lose(places, number >= most)
        half = (number // 2).cast(pl.Int64)
        negative = (number & 1) == 1
        return (half.zip_with(~negative, -half - 1) if negative.any() else half), places

    def _unsigned(self, places: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Read an int as it is written: groups of seven bits, the least first."""
        byte = self._bytes[places]
        more = byte >= 128
        if not more.any():
            return byte.cast(pl.UInt64), self._within(places + 1)
        number, ends = (byte & 127).cast(pl.UInt64), places + 1
        for group in range(1, 10):
            byte = self._bytes[places + group]
            part = (byte & 127).cast(pl.UInt64) * (1 << 7 * group)
            number = number + part * more.cast(pl.UInt64)
            ends = ends + more.cast(pl.UInt32)
            if group == 9:
                ends = self._lose(ends, more & (byte > 1))
            more = more & (byte >= 128)
            if not more.any():
                break
        return number, self._within(ends)

    def _within(self, places: pl.Series) -> pl.Series:
        """Lose cursors that have left the buffer: so they never run over."""
        return self._lose(places, places >= self._lost)

    def _lose(self, places: pl.Series, mask: pl.Series) -> pl.Series:
        """Send cursors to where none comes back from."""
        if not mask.any():
            return places
        return places.zip_with(~mask, pl.Series([self._lost], dtype=pl.UInt32))

    def _all_lost(self, at: _At) -> pl.Series:
        return pl.repeat(self._lost, len(at.rows), dtype=pl.UInt32, eager=True)
