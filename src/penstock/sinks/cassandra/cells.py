"""Packs rows into the bytes of Cassandra's protocol, column by column.

A value is its length in four bytes and then its bytes; null has the length -1. Arrow joins the
values of a row; nothing is done row by row in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from penstock.contract.types import BoolType, DateType, DecimalType, Field, Type, UuidType

_BINARY = pa.large_binary()
_NULL = -1
_DAY_ZERO = 1 << 31


@dataclass(frozen=True)
class Packed:
    """Rows as the protocol has them, one after the other in one buffer.

    Args:
        data: All bytes.
        offsets: Where each row begins, and where the last one ends.
    """

    data: memoryview
    offsets: Sequence[int]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self, start: int, end: int) -> memoryview:
        """The bytes of some rows."""
        return self.data[self.offsets[start] : self.offsets[end]]


def raw(type: Type | None, values: pl.Series) -> pl.Series:
    """Turn a column into the bytes of its values; nulls stay null.

    Args:
        type: The contract's type; None for a column of whole numbers that is Penstock's own.
        values: A column that went through `columns.flat`.
    """
    match type:
        case UuidType():
            return values.str.replace_all("-", "", literal=True).str.decode("hex")
        case DecimalType():
            return _decimals(values, type.scale)
        case BoolType():
            return _fixed(values.cast(pl.UInt8), 1)
        case DateType():
            return _fixed((values.cast(pl.Int32).cast(pl.Int64) + _DAY_ZERO).cast(pl.UInt32), 4)
    if values.dtype in (pl.Int64, pl.Float64):
        return _fixed(values, 8)
    return values.cast(pl.Binary)


def pack(statement: bytes, columns: Sequence[pl.Series]) -> Packed:
    """Pack rows.

    Args:
        statement: The id of the prepared statement that takes the columns.
        columns: The bytes of its values, in the statement's order.
    """
    head = b"\x01" + len(statement).to_bytes(2, "big") + statement
    parts: list[pa.Array | pa.Scalar] = [pa.scalar(head + len(columns).to_bytes(2, "big"), _BINARY)]
    for column in columns:
        lengths = column.bin.size().cast(pl.Int32).fill_null(_NULL)
        parts += [_arrow(_fixed(lengths, 4)), _arrow(column.fill_null(b""))]
    joined = pc.binary_join_element_wise(*parts, pa.scalar(b"", _BINARY))
    offsets, data = joined.buffers()[1:]
    return Packed(memoryview(data or b""), memoryview(offsets).cast("q")[: len(joined) + 1])


def key_bytes(parts: Sequence[pl.Series]) -> pl.Series:
    """Compose the bytes of a partition key, whose hash says where the row lives."""
    if len(parts) == 1:
        return parts[0]
    composed: list[pa.Array | pa.Scalar] = []
    for part in parts:
        lengths = _fixed(part.bin.size().cast(pl.UInt16), 2)
        composed += [_arrow(lengths), _arrow(part), pa.scalar(b"\0", _BINARY)]
    joined = pc.binary_join_element_wise(*composed, pa.scalar(b"", _BINARY))
    found = pl.from_arrow(joined)
    assert isinstance(found, pl.Series)  # noqa: S101
    return found


def fields_raw(fields: Sequence[Field], rows: pl.DataFrame) -> list[pl.Series]:
    """Turn the columns of some fields into bytes."""
    return [raw(field.type, rows[field.name]) for field in fields]


def _fixed(values: pl.Series, width: int) -> pl.Series:
    """Write numbers as big-endian bytes; the machine's own order, read backwards."""
    backwards = values.fill_null(0).reverse().rechunk().to_arrow()
    data = bytes(backwards.buffers()[1])[: width * len(values)][::-1]
    array = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(values), [None, pa.py_buffer(data)]
    )
    found = pl.from_arrow(array.cast(_BINARY))
    assert isinstance(found, pl.Series)  # noqa: S101
    if not values.null_count():
        return found
    return pl.select(pl.when(values.is_not_null()).then(found)).to_series()


def _decimals(values: pl.Series, scale: int) -> pl.Series:
    """Write the scale, then the digits as the shortest whole number in two's complement."""
    digits = values.to_physical()
    longer = [
        ((digits >= 1 << (8 * size - 1)) | (digits < -(1 << (8 * size - 1)))).cast(pl.Int8)
        for size in range(1, 16)
    ]
    size = sum(longer[1:], longer[0]) + 1
    frame = pl.DataFrame({"value": _fixed(values, 16), "size": size})
    shortest = pl.col("value").bin.slice(16 - pl.col("size"), pl.col("size"))
    prefix = pl.lit(scale.to_bytes(4, "big"))
    return frame.select((prefix + shortest).alias("value")).to_series()


def _arrow(values: pl.Series) -> pa.Array:
    return values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
