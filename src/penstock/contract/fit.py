"""Brings a frame that a map returned into a contract's columns, without loss or not at all."""

from __future__ import annotations

import polars as pl

from penstock.contract.spec import ContractSpec
from penstock.contract.types import Type
from penstock.records import Cause

PolarsType = pl.DataType | pl.datatypes.DataTypeClass
TEXTS = (pl.Categorical, pl.Enum)
SMALL = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32)


class Misfit(Exception):
    """A frame cannot become the contract's columns.

    Args:
        cause: What is wrong, with the column.
    """

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"{cause.field}: {cause.rule}" if cause.field else cause.rule)
        self.cause = cause


def fit(spec: ContractSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Return exactly the contract's columns in its order; values are never changed.

    Narrower ints and floats are widened, Categorical and Enum become String, other time zones
    and units become UTC and microseconds, a missing born column becomes null.

    Raises:
        Misfit: A column is missing, too many, or of a type that would have to be coerced.
    """
    if extra := [name for name in frame.columns if name not in spec.polars]:
        raise _misfit(
            f"the contract {spec.name} has no such field; drop the column or declare it", extra[0]
        )
    columns = []
    for field in spec.fields:
        if field.name in frame.columns:
            columns.append(_column(frame[field.name], field.type, field.name))
        elif field.is_born:
            columns.append(
                pl.Series(field.name, [None], field.type.polars).new_from_index(0, len(frame))
            )
        else:
            raise _misfit("the column is missing; the map must return it", field.name)
    return pl.DataFrame(columns)


def _column(column: pl.Series, type: Type, path: str) -> pl.Series:
    target = type.polars
    if column.dtype == target:
        return column
    if not _lossless(column.dtype, target):
        raise _misfit(f"expected a column of {target}, got {column.dtype}; cast it", path)
    if isinstance(column.dtype, pl.Datetime):
        column = column.dt.convert_time_zone("UTC")
    try:
        cast = column.cast(target)
        back = cast.cast(column.dtype)
    except pl.exceptions.PolarsError as error:
        raise _misfit(f"a value of {column.dtype} is no {target}", path, str(error)) from error
    if not back.equals(column, null_equal=True):
        raise _misfit(f"a value of {column.dtype} would lose digits as {target}", path)
    return cast


def _lossless(given: PolarsType, target: PolarsType) -> bool:
    """Whether a cast can keep every value; those that may not are compared afterwards."""
    if given == target or given == pl.Null:
        return True
    if target == pl.String:
        return isinstance(given, TEXTS)
    if target == pl.Int64:
        return given.is_integer() and given != pl.Int128 and given != pl.UInt128
    if target == pl.Float64:
        return given in SMALL or given == pl.Float32
    if isinstance(target, pl.Decimal):
        return isinstance(given, pl.Decimal) or given.is_integer()
    if isinstance(target, pl.Datetime):
        return isinstance(given, pl.Datetime) and given.time_zone is not None
    if isinstance(target, pl.List):
        return isinstance(given, (pl.List, pl.Array)) and _lossless(given.inner, target.inner)
    return isinstance(target, pl.Struct) and _lossless_struct(given, target)


def _lossless_struct(given: PolarsType, target: pl.Struct) -> bool:
    if not isinstance(given, pl.Struct):
        return False
    fields = {f.name: f.dtype for f in given.fields}
    return list(fields) == [f.name for f in target.fields] and all(
        _lossless(fields[f.name], f.dtype) for f in target.fields
    )


def _misfit(rule: str, field: str, detail: str = "") -> Misfit:
    return Misfit(Cause("contract", rule, field, detail=detail))
