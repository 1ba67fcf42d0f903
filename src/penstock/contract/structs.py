"""Typed structs that decode a contract's JSON strictly, one document at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from penstock.contract.spec import ContractSpec
from penstock.contract.types import ChoiceType, Field, ListType, NestedType, Type

ABSENT = msgspec.Raw(b"null")
"""Stands for a field that a document lacks, where the literal is kept."""

LITERALS = ("text", "decimal")
"""Kinds that are read from their literal."""


@cache
def decoder(spec: ContractSpec) -> msgspec.json.Decoder[Any]:
    """Make the decoder of a contract's documents.

    Fields that may be missing are `UNSET` or `ABSENT` then: a null is told from a lack.
    """
    return msgspec.json.Decoder(_struct(spec.name, spec.fields))


def _struct(name: str, fields: Sequence[Field]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        name,
        [_slot(f) for f in fields],
        kw_only=True,
        gc=False,
        rename={f.name: f.json_name for f in fields},
    )


def _slot(field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    nullable = field.nullable or field.is_born
    python = _python(field.type, nullable)
    if not nullable:
        return field.name, python
    if python is msgspec.Raw:
        return field.name, python, ABSENT
    return field.name, python | msgspec.UnsetType, msgspec.UNSET


def _python(type: Type, nullable: bool) -> Any:
    """The Python type that msgspec decodes into."""
    if type.kind in LITERALS:
        return msgspec.Raw
    bare = _bare(type)
    return bare | None if nullable else bare


def _bare(type: Type) -> Any:
    if isinstance(type, ChoiceType):
        return Literal[type.values]
    if isinstance(type, ListType):
        return list[_python(type.element, type.nullable)]  # type: ignore[misc]
    if isinstance(type, NestedType):
        return _struct(type.name, type.fields)
    return {"int": int, "float": float, "bool": bool}.get(type.kind, str)
