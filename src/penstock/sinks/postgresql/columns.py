"""How each contract type lies in PostgreSQL: its column type, into it by COPY, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
from psycopg import sql

from penstock.contract import ContractSpec, decode, encode
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

_PLAIN = {
    IntType: "bigint",
    FloatType: "double precision",
    BoolType: "boolean",
    DateType: "date",
    DatetimeType: "timestamp with time zone",
    UuidType: "uuid",
    BytesType: "bytea",
    ListType: "jsonb",
    NestedType: "jsonb",
}

_JSONB_VERSION = "\x01"


@dataclass(frozen=True)
class Column:
    """A column as PostgreSQL names its parts."""

    name: str
    type: str
    required: bool

    def definition(self) -> sql.Composed:
        """Compose the column's part of CREATE TABLE or ADD COLUMN."""
        text = "{} {} NOT NULL" if self.required else "{} {}"
        return sql.SQL(text).format(sql.Identifier(self.name), sql.SQL(self.type))


def column_type(type: Type) -> str:
    """Name the PostgreSQL type that holds every value of a contract's type."""
    if isinstance(type, DecimalType):
        return f"numeric({type.precision},{type.scale})"
    return _PLAIN.get(type.__class__, "text")


def column(field: Field) -> Column:
    """Build the column for a field of the contract."""
    return Column(field.name, column_type(field.type), not field.nullable)


def to_copy(spec: ContractSpec, fields: Sequence[Field], rows: pl.DataFrame) -> pl.DataFrame:
    """Bring the contract's columns into the form that a binary COPY takes.

    Args:
        spec: The contract.
        fields: Which of its fields to convert.
        rows: These fields and perhaps other columns, which stay as they are.
    """
    changes: list[pl.Expr | pl.Series] = []
    for field in fields:
        if isinstance(field.type, UuidType):
            digits = pl.col(field.name).str.replace_all("-", "", literal=True)
            changes.append(digits.str.decode("hex"))
        elif column_type(field.type) == "jsonb":
            changes.append(_to_jsonb(spec, field, rows))
    return rows.with_columns_seq(changes) if changes else rows


def selected(field: Field) -> sql.Composable:
    """Compose the expression that reads a field's column in a form that `from_select` takes."""
    name = sql.Identifier(field.name)
    if isinstance(field.type, UuidType | DecimalType) or column_type(field.type) == "jsonb":
        return sql.SQL("{}::text AS {}").format(name, name)
    return name


def from_select(spec: ContractSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Bring what a query with `selected` columns gave back into the contract's dtypes.

    Raises:
        Refused: Somebody changed a value so that it does not fit the contract any more.
    """
    changes: list[pl.Expr | pl.Series] = []
    for field in spec.fields:
        if column_type(field.type) == "jsonb":
            changes.append(_from_jsonb(spec, field, frame[field.name]))
        else:
            changes.append(pl.col(field.name).cast(field.type.polars))
    return frame.with_columns(changes)


def _to_jsonb(spec: ContractSpec, field: Field, rows: pl.DataFrame) -> pl.Series:
    """Encode one field through the contract's encoder, so that there is one JSON form of it."""
    before, after = _around(spec, field)
    documents = encode(_only(spec, field), rows.select(field.name)).cast(pl.String)
    values = documents.str.strip_prefix(before).str.strip_suffix(after)
    return (
        pl.select(pl.when(rows[field.name].is_not_null()).then(pl.lit(_JSONB_VERSION) + values))
        .to_series()
        .alias(field.name)
    )


def _from_jsonb(spec: ContractSpec, field: Field, values: pl.Series) -> pl.Series:
    before, after = _around(spec, field)
    values = values.fill_null("null")
    decoded = decode(_only(spec, field), (before + values + after).cast(pl.Binary))
    if decoded.failures:
        values = values.scatter(
            failed := [f.row for f in decoded.failures],
            [_with_floats(field.type, values[row]) for row in failed],
        )
        decoded = decode(_only(spec, field), (before + values + after).cast(pl.Binary))
    if decoded.failures:
        failure = decoded.failures[0]
        raise Refused(
            f"column {field.name!r} holds {values[failure.row]!r}, which breaks the contract "
            f"{spec.name}: {failure.cause.rule}; correct the row"
        )
    return decoded.rows[field.name]


def _with_floats(type: Type, text: str) -> str:
    """Write floats as floats again: jsonb turns 1e300 into an int of 301 digits."""
    value = json.loads(text, parse_float=Decimal)
    return msgspec.json.Encoder(decimal_format="number").encode(_floats_in(type, value)).decode()


def _floats_in(type: Type, value: Any) -> Any:
    match type, value:
        case FloatType(), int() | Decimal():
            return float(value)
        case ListType(), list():
            return [_floats_in(type.element, element) for element in value]
        case NestedType(), dict():
            types = {field.json_name: field.type for field in type.fields}
            return {
                name: _floats_in(types[name], part) if name in types else part
                for name, part in value.items()
            }
    return value


def _around(spec: ContractSpec, field: Field) -> tuple[str, str]:
    nothing = pl.DataFrame({field.name: [None]}, schema={field.name: field.type.polars})
    document = encode(_only(spec, field), nothing).cast(pl.String)[0]
    before, _, after = document.rpartition("null")
    return before, after


def _only(spec: ContractSpec, field: Field) -> ContractSpec:
    bare = replace(field, nullable=True, constraints=(), is_key=False, is_born=False)
    return replace(spec, fields=(bare,))
