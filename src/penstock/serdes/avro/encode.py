"""Writes rows as Avro, column by column: what each field gives is joined row by row at the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from penstock.contract.types import ChoiceType, Field, ListType, NestedType, Type
from penstock.serdes.avro.schema import has_symbols

_PAGE = 1 << 14
"""Whole numbers below are written by one look into a table."""

_ALL_BITS = 2**64 - 1


Part = pl.Series | bytes
"""What a field gives for each row, or for every row alike."""


def encode(fields: Sequence[Field], frame: pl.DataFrame, prefix: bytes = b"") -> pl.Series:
    """Write each row as one record, in the order of the contract's fields.

    Args:
        fields: The contract's.
        frame: Their columns; others are ignored.
        prefix: What every value begins with.
    """
    parts = [part for f in fields for part in _field(f, frame[f.name])]
    return _joined([prefix, *parts], frame.height).alias("value")


def behind(head: bytes, values: pl.Series) -> pl.Series:
    """Put the same bytes before every value."""
    return _joined([head, values], len(values)).alias("value")


def _field(field: Field, column: pl.Series) -> list[Part]:
    return _slot(field.type, column, field.nullable or field.is_born)


def _slot(type: Type, column: pl.Series, nullable: bool) -> list[Part]:
    """Write a column that may hold nulls, if it may: the number of the branch comes first."""
    if not nullable:
        return _value(type, column)
    if not column.null_count():
        return [b"\x02", *_value(type, column)]
    there = column.is_not_null()
    if not there.any():
        return [b"\0"]
    written = _joined([b"\x02", *_value(type, column.filter(there))], int(there.sum()))
    index = (there.cum_sum() - 1).cast(pl.UInt32, strict=False)
    index = index.zip_with(there, pl.Series([None], dtype=pl.UInt32))
    return [written.gather(index).fill_null(b"\0")]


def _value(type: Type, column: pl.Series) -> list[Part]:
    """Write a column without nulls."""
    if isinstance(type, NestedType):
        return [part for f in type.fields for part in _field(f, column.struct.field(f.name))]
    if isinstance(type, ListType):
        return _lists(type, column)
    if isinstance(type, ChoiceType) and has_symbols(type):
        symbols = list(dict.fromkeys(type.values))
        return _ints(column.replace_strict(symbols, range(len(symbols)), return_dtype=pl.Int64))
    if type.kind == "float":
        return [_doubles(column)]
    if type.kind == "bool":
        return [pl.Series([b"\0", b"\1"], dtype=pl.Binary)[column.cast(pl.UInt32)]]
    if type.kind in ("int", "date", "datetime"):
        return _ints(column.to_physical().cast(pl.Int64))
    if type.kind == "decimal":
        unscaled = [_big_endian(number) for number in column.to_physical().to_list()]
        return _sized(pl.Series(unscaled, dtype=pl.Binary))
    if type.kind == "uuid":
        return [b"\x48", column.cast(pl.Binary)]
    return _sized(column.cast(pl.Binary))


def _sized(column: pl.Series) -> list[Part]:
    return [*_ints(column.bin.size().cast(pl.Int64)), column]


def _ints(column: pl.Series) -> list[Part]:
    """Write whole numbers: the sign last, then in groups of seven bits, the least first."""
    below = column < 0
    rest = column.cast(pl.UInt64, wrap_numerical=True) * 2
    if below.any():
        rest = rest.zip_with(~below, _ALL_BITS - rest)
    if (rest < _PAGE).all():
        return [_table()[rest.cast(pl.UInt32)]]
    parts: list[Part] = []
    going = pl.repeat(True, len(rest), dtype=pl.Boolean, eager=True)
    while going.any():
        last = rest < _PAGE
        index = rest.zip_with(last, (rest & (_PAGE - 1)) + _PAGE)
        index = index.zip_with(going, pl.Series([2 * _PAGE], dtype=pl.UInt64))
        parts.append(_table()[index.cast(pl.UInt32)])
        going &= ~last
        rest = rest // _PAGE
    return parts


@cache
def _table() -> pl.Series:
    """Numbers of one page as they are written, then with more to come, then nothing."""
    ends = [bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(_PAGE)]
    more = [bytes([n & 127 | 128, n >> 7 | 128]) for n in range(_PAGE)]
    return pl.Series([*ends, *more, b""], dtype=pl.Binary)


def _doubles(column: pl.Series) -> pl.Series:
    array = column.rechunk().to_arrow()
    values = array.buffers()[1]
    fixed = pa.Array.from_buffers(pa.binary(8), len(array), [None, values], offset=array.offset)
    return _series(fixed.cast(pa.large_binary()))


def _big_endian(number: int) -> bytes:
    """Write a number in two's complement, in as few bytes as hold it."""
    return number.to_bytes(
        (number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True
    )


def _lists(type: ListType, column: pl.Series) -> list[Part]:
    """Write each list as one block, and a 0 behind it; an empty one is the 0 alone."""
    counts = column.list.len().cast(pl.Int64)
    elements = column.explode(empty_as_null=False)
    if not len(elements):
        return [b"\0"]
    written = _joined(_slot(type.element, elements, type.nullable), len(elements))
    _, offsets, data = written.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    places = _series(pa.Array.from_buffers(pa.int64(), len(elements) + 1, [None, offsets]))
    firsts = pl.Series([0], dtype=pl.Int64).append(counts.cum_sum())
    cuts = places[firsts].to_arrow()
    lists = pa.Array.from_buffers(pa.large_binary(), len(column), [None, cuts.buffers()[1], data])
    ends = pl.Series([b"", b"\0"], dtype=pl.Binary)[(counts > 0).cast(pl.UInt32)]
    return [*_ints(counts), _series(lists), ends]


def _joined(parts: Sequence[Part], rows: int) -> pl.Series:
    """Put what the fields gave together, row by row."""
    if not rows:
        return pl.Series([], dtype=pl.Binary)
    if not any(isinstance(part, pl.Series) for part in parts):
        return pl.Series([b"".join(map(bytes, parts))], dtype=pl.Binary).new_from_index(0, rows)
    arrays = [_arrow(part) for part in parts]
    return _series(pc.binary_join_element_wise(*arrays, pa.scalar(b"", pa.large_binary())))


def _arrow(part: Part) -> pa.Array | pa.Scalar:
    if isinstance(part, bytes):
        return pa.scalar(part, pa.large_binary())
    return part.to_arrow(compat_level=pl.CompatLevel.oldest())


def _series(array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)  # noqa: S101
    return series
