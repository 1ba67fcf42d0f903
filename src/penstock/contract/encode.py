"""Encodes rows as JSON documents, column by column: what `decode` reads back as the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from penstock.contract.spec import ContractSpec
from penstock.contract.types import (
    BytesType,
    DatetimeType,
    DateType,
    DecimalType,
    Field,
    ListType,
    NestedType,
    Type,
)

DATETIME_FORM = "%Y-%m-%dT%H:%M:%S%.6fZ"


def encode(spec: ContractSpec, frame: pl.DataFrame) -> pl.Series:
    """Encode each row as one JSON document in UTF-8; other columns of the frame are ignored."""
    return frame.select(document(spec.fields).cast(pl.Binary).alias("value")).to_series()


def document(fields: Sequence[Field]) -> pl.Expr:
    """Write fields as one JSON object, without spaces and in their order."""
    columns = [safe(f.type, pl.col(f.name)).alias(f.json_name) for f in fields]
    return pl.struct(columns).struct.json_encode()


def safe(type: Type, value: pl.Expr) -> pl.Expr:
    """Turn a column into one whose JSON form is the type's."""
    if isinstance(type, DatetimeType):
        return value.dt.strftime(DATETIME_FORM)
    if isinstance(type, (DateType, DecimalType)):
        return value.cast(pl.String)
    if isinstance(type, BytesType):
        return value.bin.encode("base64")
    if isinstance(type, ListType) and not _plain(type):
        return value.list.eval(safe(type.element, pl.element()))
    if isinstance(type, NestedType) and not _plain(type):
        inner = [safe(f.type, value.struct.field(f.name)).alias(f.json_name) for f in type.fields]
        return pl.when(value.is_not_null()).then(pl.struct(inner))
    return value


def _plain(type: Type) -> bool:
    """Whether Polars' own JSON form of the type is ours."""
    if isinstance(type, ListType):
        return _plain(type.element)
    if isinstance(type, NestedType):
        return all(f.name == f.json_name and _plain(f.type) for f in type.fields)
    return not isinstance(type, (DatetimeType, DateType, DecimalType, BytesType))
