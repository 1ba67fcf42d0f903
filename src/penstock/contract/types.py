"""The types of a contract: a small closed algebra, each with its Polars and Arrow type.

A type's domain is what every store can hold, so that a record is good or dead everywhere alike:
a str has no NUL and no lone surrogate, a float is finite, a datetime lies in the years 1 to 9999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.contract.constraints import Constraint
    from penstock.contract.masks import Mask


@dataclass(frozen=True)
class Type:
    """One type: what it is called, and what holds it in columns."""

    kind: ClassVar[str] = ""

    @property
    def words(self) -> str:
        """The type as an error message names it."""
        raise NotImplementedError

    @property
    def polars(self) -> pl.DataType:
        """The Polars dtype of a column of this type."""
        raise NotImplementedError

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of a column of this type."""
        return pl.Series([], dtype=self.polars).to_arrow(compat_level=pl.CompatLevel.oldest()).type

    @property
    def inmost(self) -> Type:
        """The type itself, or what a list of it (or of lists of it) holds."""
        return self

    def to_json(self) -> dict[str, Any]:
        """The type as plain data, as home stores it."""
        return {"kind": self.kind}


class StrType(Type):
    """A string without NUL or lone surrogates."""

    kind = "str"
    words = "a str"
    polars = pl.String()


class TextType(StrType):
    """A string that may come as a JSON number; then it is the number's literal."""

    kind = "text"
    words = "a str or a number"


class UuidType(Type):
    """A UUID, held as its 36 lower-case characters."""

    kind = "uuid"
    words = "a UUID such as 1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    polars = pl.String()


class IntType(Type):
    """A whole number of 64 bits with sign."""

    kind = "int"
    words = "an int"
    polars = pl.Int64()


class FloatType(Type):
    """A finite double."""

    kind = "float"
    words = "a float"
    polars = pl.Float64()


class BoolType(Type):
    """True or false."""

    kind = "bool"
    words = "a bool"
    polars = pl.Boolean()


class DateType(Type):
    """A day of the years 1 to 9999."""

    kind = "date"
    words = "a date such as 2026-11-20"
    polars = pl.Date()


class DatetimeType(Type):
    """An instant in UTC with microseconds, of the years 1 to 9999."""

    kind = "datetime"
    words = "a datetime with a zone such as 2026-11-20T18:30:00.123456Z"
    polars = pl.Datetime("us", "UTC")


class BytesType(Type):
    """Any bytes; base64 in JSON."""

    kind = "bytes"
    words = "bytes in base64"
    polars = pl.Binary()


@dataclass(frozen=True)
class DecimalType(Type):
    """An exact number of at most `precision` digits, `scale` of them after the point."""

    precision: int
    scale: int

    kind = "decimal"

    @property
    def words(self) -> str:
        return f"a number of at most {self.precision} digits, {self.scale} after the point"

    @property
    def polars(self) -> pl.DataType:
        return pl.Decimal(self.precision, self.scale)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "precision": self.precision, "scale": self.scale}


@dataclass(frozen=True)
class ChoiceType(Type):
    """One of a few strings: a `Literal` or an `Enum`."""

    values: tuple[str, ...]

    kind = "choice"

    @property
    def words(self) -> str:
        return "one of " + ", ".join(self.values)

    @property
    def polars(self) -> pl.DataType:
        return pl.String()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "values": list(self.values)}


@dataclass(frozen=True)
class ListType(Type):
    """A list; its elements have a type, may or may not be null, and obey constraints."""

    element: Type
    nullable: bool = False
    constraints: tuple[Constraint, ...] = ()

    kind = "list"
    words = "a list"

    @property
    def polars(self) -> pl.DataType:
        return pl.List(self.element.polars)

    @property
    def inmost(self) -> Type:
        return self.element.inmost

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "element": self.element.to_json(),
            "nullable": self.nullable,
            "constraints": [{**c.to_json(), "rule": c.rule} for c in self.constraints],
        }


@dataclass(frozen=True)
class NestedType(Type):
    """A contract inside a contract."""

    name: str
    fields: tuple[Field, ...]

    kind = "nested"
    words = "an object"

    @property
    def polars(self) -> pl.DataType:
        return pl.Struct({f.name: f.type.polars for f in self.fields})

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "fields": [f.to_json() for f in self.fields]}


@dataclass(frozen=True)
class Field:
    """One field of a contract.

    Args:
        name: The Python name, which is the column's name.
        json_name: The name in JSON.
        type: The type, without its nullability.
        nullable: Whether the field may be null, or missing in JSON.
        constraints: What a value must obey beyond its type.
        is_key: Whether the field is part of the key.
        is_born: Whether the field tells when the record was first seen.
        mask: How its values are masked.
        is_masked: Whether they are masked already.
    """

    name: str
    json_name: str
    type: Type
    nullable: bool = False
    constraints: tuple[Constraint, ...] = ()
    is_key: bool = False
    is_born: bool = False
    mask: Mask | None = None
    is_masked: bool = False

    def to_json(self) -> dict[str, Any]:
        """The field as plain data, as home stores it."""
        mask = self.mask and {"mask": {**self.mask.to_json(), "done": self.is_masked}}
        return {
            "name": self.name,
            "json_name": self.json_name,
            "type": self.type.to_json(),
            "nullable": self.nullable,
            "constraints": [{**c.to_json(), "rule": c.rule} for c in self.constraints],
            "key": self.is_key,
            "born": self.is_born,
            **(mask or {}),
        }
