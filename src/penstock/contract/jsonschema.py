"""A contract as JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.contract.constraints import Constraint, Length, OneOf, Pattern, Range
from penstock.contract.types import (
    BytesType,
    ChoiceType,
    DecimalType,
    Field,
    ListType,
    NestedType,
    Type,
)

if TYPE_CHECKING:
    from penstock.contract.spec import ContractSpec

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "text": {"type": ["string", "number"]},
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
}
MASKED = "x-penstock-masked"
"""Tells readers of a schema in which way a field's values are masked."""
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def json_schema(spec: ContractSpec) -> dict[str, Any]:
    """Write the contract as JSON Schema, draft 2020-12.

    What JSON Schema cannot say (a `Check`, bounds of dates) stands in descriptions.
    """
    return {"$schema": DRAFT, "title": spec.name, **_object(spec.fields)}


def _object(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {f.json_name: _property(f) for f in fields},
        "required": [f.json_name for f in fields if not f.nullable and not f.is_born],
    }


def _property(field: Field) -> dict[str, Any]:
    schema = _slot(field.type, field.nullable, field.constraints)
    return schema | {MASKED: field.mask.way} if field.mask and field.is_masked else schema


def _slot(type: Type, nullable: bool, constraints: tuple[Constraint, ...]) -> dict[str, Any]:
    schema = _type(type)
    for constraint in constraints:
        _constrain(schema, type, constraint)
    return {"anyOf": [schema, {"type": "null"}]} if nullable else schema


def _type(type: Type) -> dict[str, Any]:
    if isinstance(type, DecimalType):
        return {"type": ["string", "number"], "description": type.words}
    if isinstance(type, ChoiceType):
        return {"enum": list(type.values)}
    if isinstance(type, ListType):
        return {"type": "array", "items": _slot(type.element, type.nullable, type.constraints)}
    if isinstance(type, NestedType):
        return _object(type.fields)
    return dict(PLAIN[type.kind])


def _constrain(schema: dict[str, Any], type: Type, constraint: Constraint) -> None:
    if isinstance(constraint, Pattern):
        schema["pattern"] = f"^(?:{constraint.regex})$"
    elif isinstance(constraint, Range) and type.kind in ("int", "float"):
        schema.update({BOUNDS[name]: bound for name, bound in constraint.bounds.items()})
    elif isinstance(constraint, Length) and not isinstance(type, BytesType):
        noun = "Items" if isinstance(type, ListType) else "Length"
        schema[f"min{noun}"] = constraint.min
        if constraint.max is not None:
            schema[f"max{noun}"] = constraint.max
    elif isinstance(constraint, OneOf) and type.kind in ("str", "int", "float"):
        schema["enum"] = list(constraint.values)
    else:
        words = schema.get("description")
        schema["description"] = f"{words}; {constraint.rule}" if words else constraint.rule
