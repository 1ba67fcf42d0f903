"""Reads a contract's class into a `ContractSpec`, or says what is wrong with it and where."""

from __future__ import annotations

import ast
import enum
import hashlib
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import polars as pl

from penstock.contract.constraints import Check, Constraint
from penstock.contract.declare import Contract, Digits, Mark, Name, TextMark
from penstock.contract.masks import Mask, is_open, keeps_keys, mask_field
from penstock.contract.types import (
    BoolType,
    BytesType,
    ChoiceType,
    DatetimeType,
    DateType,
    DecimalType,
    Field,
    FloatType,
    IntType,
    ListType,
    NestedType,
    StrType,
    TextType,
    Type,
    UuidType,
)
from penstock.errors import DeclarationError

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN: dict[Any, Type] = {
    str: StrType(),
    int: IntType(),
    float: FloatType(),
    bool: BoolType(),
    date: DateType(),
    datetime: DatetimeType(),
    UUID: UuidType(),
    bytes: BytesType(),
}
KEYLESS = (FloatType, ListType, NestedType)


@dataclass(frozen=True)
class ContractSpec:
    """A contract as data: what decodes, checks, stores and compares it.

    Args:
        name: The class's name.
        fields: In the order of declaration, inherited ones first.
        file: Where the class stands.
        line: The line of its `class` statement.
    """

    name: str
    fields: tuple[Field, ...]
    file: str = ""
    line: int = 0

    def __hash__(self) -> int:
        """Hash quickly: contracts are keys of caches on the way of every batch."""
        return hash(self.fingerprint)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Names of the key's fields, in order; empty when there is no key."""
        return tuple(f.name for f in self.fields if f.is_key)

    @cached_property
    def born(self) -> str | None:
        """Name of the field that tells when the record was first seen."""
        return next((f.name for f in self.fields if f.is_born), None)

    @cached_property
    def polars(self) -> pl.Schema:
        """Columns of a frame that fits."""
        return pl.Schema({f.name: f.type.polars for f in self.fields})

    @cached_property
    def arrow(self) -> pa.Schema:
        """The same as an Arrow schema, with nullability."""
        import pyarrow as pa

        return pa.schema([pa.field(f.name, f.type.arrow, f.nullable) for f in self.fields])

    @cached_property
    def fingerprint(self) -> str:
        """Changes when what the contract accepts may have changed."""
        text = json.dumps(self.to_json(), sort_keys=True) + "".join(_codes(self.fields))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def masks(self) -> bool:
        """Whether records that come must be masked."""
        return any(map(is_open, self.fields))

    @cached_property
    def masked(self) -> ContractSpec:
        """The contract of the same records once they are masked; itself when there is no mask."""
        if not self.masks:
            return self
        return replace(self, fields=tuple(map(mask_field, self.fields)))

    def to_json(self) -> dict[str, Any]:
        """The contract as plain data, as home stores it; see `compare`."""
        return {"name": self.name, "fields": [f.to_json() for f in self.fields]}

    def json_schema(self) -> dict[str, Any]:
        """The contract as JSON Schema, draft 2020-12."""
        from penstock.contract.jsonschema import json_schema

        return json_schema(self)

    def only(self, names: Sequence[str]) -> ContractSpec:
        """The contract of some of the fields, in the order given."""
        fields = {f.name: f for f in self.fields}
        return replace(self, fields=tuple(fields[name] for name in names))


def spec(contract: type[Contract]) -> ContractSpec:
    """Read a contract's class.

    Raises:
        DeclarationError: A field cannot be what it is declared as; with file, line and remedy.
    """
    hashable: Any = contract  # mypy takes a class for not hashable
    return _spec(hashable)


@cache
def _spec(contract: type[Contract]) -> ContractSpec:
    return _Reader(contract).read()


class _Reader:
    """Reads one class; `field` is the one being read, for messages."""

    def __init__(self, contract: type[Contract], outer: tuple[type, ...] = ()) -> None:
        self.contract = contract
        self.outer = (*outer, contract)
        self.field = ""

    def read(self) -> ContractSpec:
        if not (isinstance(self.contract, type) and issubclass(self.contract, Contract)):
            raise DeclarationError(
                f"{self.contract!r} is not a contract; write `class Name(ps.Contract): ...`"
            )
        hints = self._hints()
        fields = tuple(self._field(name, hint) for name, hint in hints.items())
        self.field = ""
        self._check_whole(fields)
        file, line = self.contract.__penstock_where__
        return ContractSpec(self.contract.__name__, fields, file, line)

    def _hints(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self.contract, include_extras=True)
        except Exception as error:  # an annotation is any expression
            self._fail(
                f"an annotation of {self.contract.__name__} cannot be read: {error}; "
                "import its type at module level"
            )
        hidden = typing.get_type_hints(Contract, include_extras=True)
        return {name: hint for name, hint in hints.items() if name not in hidden}

    def _field(self, name: str, hint: Any) -> Field:
        self.field = name
        if name.startswith("_"):
            self._fail("begins with _, as Penstock's own columns do; rename the field")
        if not name.isidentifier():
            self._fail('is no Python name; rename it and give its JSON name by ps.Name("…")')
        kind, on_the_right = self._mark(name)
        type_, nullable, marks = self._type(hint)
        field = Field(
            name=name,
            json_name=self._json_name(name, marks),
            type=type_,
            nullable=nullable,
            constraints=self._constraints(type_, marks),
            is_key=kind == "key",
            is_born=kind == "born",
            mask=self._mask(type_, [*marks, *on_the_right]),
        )
        self._check_marks(field)
        return field

    def _json_name(self, name: str, marks: list[Any]) -> str:
        given = next((m.name for m in marks if isinstance(m, Name)), name)
        if any(c in '"\\' or c < " " or "\ud800" <= c <= "\udfff" for c in given):
            self._fail(
                f"has the JSON name {given!r}; a name has no quotes, backslashes, control "
                "characters or surrogates"
            )
        return given

    def _mark(self, name: str) -> tuple[str, list[Mask]]:
        """Return `key`, `born` or nothing, and the mask that stands there instead."""
        value = getattr(self.contract, name, None)
        if isinstance(value, Mask):
            return "", [value]
        if value is None or isinstance(value, Mark):
            return (value.kind if value else ""), []
        return self._fail(
            f"has the value {value!r}, but fields have no defaults; write `| None` for a field "
            "that may be missing"
        )

    def _check_marks(self, field: Field) -> None:
        if field.is_key and field.nullable:
            self._fail("is in the key and nullable; a key is always there: remove `| None`")
        if field.is_key and isinstance(field.type, KEYLESS):
            self._fail(
                f"is in the key, but {field.type.words} cannot be a key; use a str, int, UUID, "
                "date, datetime or Decimal"
            )
        if field.is_key and not keeps_keys(field):
            self._fail(
                f"is in the key, but {field.mask.way} makes different keys equal; "  # type: ignore[union-attr]
                "mask it by hash or tokenise"
            )
        if field.is_born and field.mask:
            self._fail("is marked born(), which nobody may hide: remove its mask")
        if field.is_born and (not isinstance(field.type, DatetimeType) or field.nullable):
            self._fail("is marked born(); its type must be `datetime`, not nullable")

    def _mask(self, type_: Type, marks: list[Any]) -> Mask | None:
        found = [mark for mark in marks if isinstance(mark, Mask)]
        if len(found) > 1:
            self._fail("has two masks: keep one")
        for mask in found:
            if reason := mask.wrong(type_):
                self._fail(reason)
        return found[0] if found else None

    def _constraints(self, type_: Type, marks: list[Any]) -> tuple[Constraint, ...]:
        for mark in marks:
            if isinstance(mark, type) and issubclass(mark, Constraint | Name | Digits):
                self._fail(f"has {mark.__name__} without its arguments; write {mark.__name__}(...)")
            if isinstance(mark, Digits) and not isinstance(type_, DecimalType):
                self._fail(f"has Digits, which are for a Decimal, not for {type_.words}")
        found = tuple(m for m in marks if isinstance(m, Constraint))
        for constraint in found:
            if reason := constraint.wrong(type_):
                self._fail(reason)
        return found

    def _check_whole(self, fields: tuple[Field, ...]) -> None:
        name = self.contract.__name__
        if not fields:
            self._fail(f"the contract {name} has no fields; write one, such as `id: UUID`")
        born = [f.name for f in fields if f.is_born]
        if len(born) > 1:
            self.field = born[1]
            self._fail(f"is born() and so is {born[0]}; a record is born once: keep one")
        seen: dict[str, str] = {}
        for field in fields:
            other = seen.setdefault(field.json_name, field.name)
            if other != field.name:
                self.field = field.name
                self._fail(f"has the JSON name {field.json_name!r}, which {other} has too")

    # --- types ---------------------------------------------------------------------------------

    def _type(self, hint: Any) -> tuple[Type, bool, list[Any]]:
        """Take a hint apart: its type, whether it is nullable, what `Annotated` adds."""
        marks: list[Any] = []
        nullable = False
        while True:
            origin = typing.get_origin(hint)
            if origin is typing.Annotated:
                marks += hint.__metadata__
                hint = hint.__origin__
            elif origin in (typing.Union, types.UnionType):
                hint = self._only_member(hint)
                nullable = True
            else:
                return self._bare(hint, marks), nullable, marks

    def _only_member(self, hint: Any) -> Any:
        members = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(members) != 1 or len(typing.get_args(hint)) != 2:
            self._fail(f"is a union, {hint}; only `X | None` can be a column")
        return members[0]

    def _bare(self, hint: Any, marks: list[Any]) -> Type:
        if hint is str and any(isinstance(m, TextMark) for m in marks):
            return TextType()
        if hint is Decimal:
            return self._decimal([m for m in marks if isinstance(m, Digits)])
        if hint in PLAIN:
            return PLAIN[hint]
        if typing.get_origin(hint) is typing.Literal:
            return self._choice(typing.get_args(hint))
        if typing.get_origin(hint) is list:
            return self._list(typing.get_args(hint)[0])
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice(tuple(member.value for member in hint))
        if isinstance(hint, type) and issubclass(hint, Contract):
            return self._nested(hint)
        return self._fail(
            f"has the type {_show(hint)}, which no store holds alike; use str, Text, int, float, "
            "bool, Annotated[Decimal, Digits(p, s)], date, datetime, UUID, bytes, Literal, Enum, "
            "list[...] or another contract"
        )

    def _decimal(self, digits: list[Digits]) -> Type:
        if len(digits) != 1:
            self._fail("is a Decimal of unknown size; write Annotated[Decimal, ps.Digits(12, 2)]")
        size = digits[0]
        if not (1 <= size.precision <= 38 and 0 <= size.scale <= size.precision):
            self._fail(
                f"has Digits({size.precision}, {size.scale}); the precision is 1 to 38 and the "
                "scale 0 to the precision"
            )
        return DecimalType(size.precision, size.scale)

    def _choice(self, values: tuple[Any, ...]) -> Type:
        for value in values:
            if not isinstance(value, str) or "\0" in value:
                self._fail(
                    f"has the choice {value!r}; choices are strings: for numbers write "
                    "Annotated[int, ps.OneOf(1, 2)]"
                )
        return ChoiceType(tuple(str(getattr(value, "value", value)) for value in values))

    def _list(self, hint: Any) -> Type:
        element, nullable, marks = self._type(hint)
        if any(isinstance(mark, Mask) for mark in marks):
            self._fail(
                "has a mask on the elements of its list; put it on the field, "
                "Annotated[list[...], ps.masked(...)]: it masks each element"
            )
        return ListType(element, nullable, self._constraints(element, marks))

    def _nested(self, contract: type[Contract]) -> Type:
        if contract in self.outer:
            self._fail(f"contains {contract.__name__} itself; a table cannot hold that")
        inner = _Reader(contract, self.outer).read()
        for field in inner.fields:
            if field.is_born:
                self._fail(
                    f"holds {contract.__name__}, whose {field.name} is born(); only the "
                    "outermost contract tells when the record was first seen"
                )
        return NestedType(inner.name, inner.fields)

    def _fail(self, reason: str) -> NoReturn:
        file, line = self.contract.__penstock_where__
        where = f"{self.contract.__name__}.{self.field} " if self.field else ""
        raise DeclarationError(
            where + reason, file=file, line=_line_of(file, line, self.field) if file else None
        )


def _line_of(file: str, line: int, field: str) -> int:
    """Find the field's line in the class that begins at `line`; the class's if not found."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):  # the line of the class is good enough
        return line
    classes = (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.lineno == line)
    items = (item for node in classes for item in node.body if isinstance(item, ast.AnnAssign))
    lines = (
        item.lineno
        for item in items
        if isinstance(item.target, ast.Name) and item.target.id == field
    )
    return next(lines, line)


def _show(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _codes(fields: Sequence[Field]) -> list[str]:
    """The code of every `Check`, in order."""
    found = []
    for field in fields:
        found += [c.code for c in field.constraints if isinstance(c, Check)]
        if isinstance(field.type.inmost, NestedType):
            found += _codes(field.type.inmost.fields)
    return found
