"""How each contract type lies in Cassandra: its CQL type, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from penstock.contract import ContractSpec, decode
from penstock.contract.encode import DATETIME_FORM, safe
from penstock.contract.types import (
    BoolType,
    BytesType,
    DatetimeType,
    DateType,
    DecimalType,
    Field,
    FloatType,
    IntType,
    ListType,
    NestedType,
    Type,
    UuidType,
)
from penstock.errors import Refused

# Cassandra's timestamp has milliseconds; its collections hold no nulls.
_CQL = {
    IntType: "bigint",
    FloatType: "double",
    BoolType: "boolean",
    DateType: "date",
    UuidType: "uuid",
    BytesType: "blob",
    DecimalType: "decimal",
}

ORDER = "_order"


@dataclass(frozen=True)
class Column:
    """A column as CQL names its parts."""

    name: str
    type: str
    required: bool = False


def column_type(type: Type) -> str:
    """Name the CQL type that holds every value of a contract's type."""
    return _CQL.get(type.__class__, "text")


def flat(fields: Sequence[Field], rows: pl.DataFrame) -> pl.DataFrame:
    """Write as text what is text in Cassandra: datetimes, lists and nested contracts.

    Args:
        fields: The contract's fields that the rows have.
        rows: These fields and perhaps other columns, which stay as they are.
    """
    return rows.with_columns(
        _text(f.type, pl.col(f.name)).alias(f.name)
        for f in fields
        if isinstance(f.type, DatetimeType | ListType | NestedType)
    )


def from_rows(spec: ContractSpec, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Bring what the driver read, the contract's columns and the order stamp, into their dtypes.

    Raises:
        Refused: Somebody changed a value so that it does not fit the contract any more.
    """
    names = [*(f.name for f in spec.fields), ORDER]
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    read = [_series(spec, f, columns.get(f.name, ())) for f in spec.fields]
    return pl.DataFrame([*read, pl.Series(ORDER, columns.get(ORDER, ()), pl.Int64)])


def _text(type: Type, value: pl.Expr) -> pl.Expr:
    if isinstance(type, DatetimeType):
        return value.dt.strftime(DATETIME_FORM)
    document = pl.struct(safe(type, value).alias("v")).struct.json_encode()
    inside = document.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(value.is_not_null()).then(inside)


def _series(spec: ContractSpec, field: Field, values: Sequence[Any]) -> pl.Series:
    try:
        return _converted(field, values).alias(field.name)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise Refused(
            f"column {field.name!r} holds a value that breaks the contract {spec.name}: {error}; "
            "correct the row"
        ) from error


def _converted(field: Field, values: Sequence[Any]) -> pl.Series:
    match field.type:
        case UuidType():
            return pl.Series([v and str(v) for v in values], dtype=pl.String)
        case DateType():
            days = [None if v is None else v.days_from_epoch for v in values]
            return pl.Series(days, dtype=pl.Int32).cast(pl.Date)
        case DatetimeType():
            texts = pl.Series(values, dtype=pl.String)
            return texts.str.to_datetime(DATETIME_FORM, time_unit="us", time_zone="UTC")
        case ListType() | NestedType():
            return _from_json(field, pl.Series(values, dtype=pl.String))
    return pl.Series(values, dtype=field.type.polars, strict=True)


def _from_json(field: Field, texts: pl.Series) -> pl.Series:
    bare = replace(field, name="v", json_name="v", nullable=True, constraints=(), is_born=False)
    documents = ('{"v":' + texts.fill_null("null") + "}").cast(pl.Binary)
    decoded = decode(ContractSpec(field.name, (bare,)), documents)
    if decoded.failures:
        failure = decoded.failures[0]
        raise ValueError(f"{texts[failure.row]!r}: {failure.cause.rule}")
    return decoded.rows["v"]
