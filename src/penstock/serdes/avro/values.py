"""Turns columns as they were written in Avro into what a contract's columns hold."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from penstock.contract.columns import EXACT_INTS, cut
from penstock.contract.forms import UUIDS, utf8
from penstock.contract.types import ChoiceType, DecimalType, ListType, Type
from penstock.serdes.avro.exact import DATE_RANGE, DATETIME_RANGE, FRACTION
from penstock.serdes.avro.parse import Enum, Plain

_INT64 = (-(2**63), 2**63 - 1)


def converted(schema: Plain | Enum, type: Type, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Turn what was written into the type's column; says where only `exact` can tell."""
    if isinstance(type, DecimalType):
        return _decimals(type, schema, raw)
    if type.kind == "date":
        doubt = ~raw.is_between(*DATE_RANGE)
        return raw.zip_with(~doubt, pl.Series([0])).cast(pl.Int32).cast(pl.Date), doubt
    if type.kind == "datetime":
        assert isinstance(schema, Plain)  # noqa: S101
        return _datetimes(raw, FRACTION[schema.logical])
    if type.kind == "float":
        return _floats(raw)
    if raw.dtype == pl.Binary and type.kind != "bytes":
        raw = _uuids(raw) if isinstance(schema, Plain) and schema.size else utf8(raw)
    column = raw.cast(type.polars)
    return _texts(type, column) if column.dtype == pl.String else (column, _none(column))


def _texts(type: Type, text: pl.Series) -> tuple[pl.Series, pl.Series]:
    if isinstance(type, ChoiceType):
        return text, ~text.is_in(pl.Series(type.values, dtype=pl.String).implode())
    if type.kind == "uuid":
        return text.str.to_lowercase(), ~text.str.contains(UUIDS)
    return text, text.str.contains("\0", literal=True)


def _floats(raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    column = raw.cast(pl.Float64)
    if raw.dtype.is_integer():
        return column, column.abs() >= EXACT_INTS
    return column, ~column.is_finite()


def _datetimes(raw: pl.Series, fraction: int) -> tuple[pl.Series, pl.Series]:
    least, most = (bound * fraction // 1_000_000 for bound in DATETIME_RANGE)
    doubt = ~raw.is_between(max(least, _INT64[0]), min(most, _INT64[1]))
    if fraction > 1_000_000:
        doubt |= raw % 1_000 != 0
        raw = raw // 1_000
    sound = raw.zip_with(~doubt, pl.Series([0]))
    if fraction < 1_000_000:
        sound = sound * 1_000
    return sound.cast(pl.Datetime("us", "UTC")), doubt


def _uuids(raw: pl.Series) -> pl.Series:
    digits = pl.col("hex")
    ends = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
    parts = [digits.str.slice(start, length) for start, length in ends]
    return (
        pl.DataFrame({"hex": raw.bin.encode("hex")})
        .select(pl.concat_str(parts, separator="-"))
        .to_series()
    )


def _decimals(
    type: DecimalType, schema: Plain | Enum, raw: pl.Series
) -> tuple[pl.Series, pl.Series]:
    """Read unscaled numbers by the writer's scale; the contract's digits must hold them."""
    assert isinstance(schema, Plain)  # noqa: S101
    if schema.scale > type.scale:
        return or_nulls(None, type, len(raw)), ~_none(raw)
    if raw.dtype == pl.Binary:
        unscaled = [_unscaled(number) for number in raw.to_list()]
    else:
        unscaled = [number.to_bytes(16, "little", signed=True) for number in raw.to_list()]
    buffer = pa.py_buffer(b"".join(number or bytes(16) for number in unscaled))
    wide = pa.decimal128(38, schema.scale)
    numbers = series(pa.Array.from_buffers(wide, len(raw), [None, buffer]))
    lacking = pl.Series([number is None for number in unscaled], dtype=pl.Boolean)
    column = numbers.cast(type.polars, strict=False)
    return column, lacking | column.is_null()


def _unscaled(number: bytes) -> bytes | None:
    """Widen a number in two's complement to 16 bytes, the least first; None when it is wider."""
    if not 0 < len(number) <= 15:
        return None
    return number[::-1].ljust(16, b"\xff" if number[0] & 0x80 else b"\0")


def lists(type: ListType, found: Sequence[tuple[pl.Series, pl.Series]], rows: int) -> pl.Series:
    """Bring the elements of each list together: they were found round by round."""
    counts = pl.zeros(rows, pl.Int64, eager=True)
    if not found:
        return pl.Series([[]], dtype=type.polars).new_from_index(0, rows)
    for row, _ in found:
        counts = counts.scatter(row, counts.gather(row) + 1)
    frame = pl.DataFrame(
        {
            "row": pl.concat([row for row, _ in found]),
            "element": pl.concat([elements for _, elements in found]),
        }
    ).sort("row", maintain_order=True)
    offsets = pl.concat([pl.Series([0], dtype=pl.Int64), counts.cum_sum()]).to_arrow()
    return cut(frame["element"], offsets).cast(type.polars)


def or_nulls(column: pl.Series | None, type: Type, rows: int) -> pl.Series:
    """Return the column, or so many nulls where none was read."""
    if column is not None:
        return column
    return pl.Series([None], dtype=type.polars).new_from_index(0, rows)


def _none(column: pl.Series) -> pl.Series:
    return pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)


def series(array: pa.Array) -> pl.Series:
    """Take an Arrow array as a column."""
    column = pl.from_arrow(array)
    assert isinstance(column, pl.Series)  # noqa: S101
    return column
