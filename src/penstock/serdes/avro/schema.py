"""A contract as an Avro schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from penstock.contract import ContractSpec
from penstock.contract.jsonschema import MASKED
from penstock.contract.types import (
    ChoiceType,
    DecimalType,
    Field,
    ListType,
    NestedType,
    Type,
)

JSON_NAME = "jsonName"
"""Property of a field whose name in JSON is no Avro name."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN: dict[str, Any] = {
    "str": "string",
    "text": "string",
    "int": "long",
    "float": "double",
    "bool": "boolean",
    "bytes": "bytes",
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date": {"type": "int", "logicalType": "date"},
    "datetime": {"type": "long", "logicalType": "timestamp-micros"},
}


def avro_schema(spec: ContractSpec, name: str) -> str:
    """Write a contract as an Avro schema, in JSON without spaces.

    What a type cannot say (patterns, ranges, checks) stands in `doc`.

    Args:
        spec: The contract.
        name: Of the outermost record: the topic's, which stays when a class is renamed.
    """
    schema = _Writer().record(_clean(name), spec.fields)
    return json.dumps({**schema, "doc": spec.name}, separators=(",", ":"), ensure_ascii=False)


def field_names(fields: Sequence[Field]) -> dict[str, str]:
    """Give each field its Avro name, by Python name: the JSON name with what Avro lacks as `_`."""
    taken: set[str] = set()
    names = {}
    for field in sorted(fields, key=lambda f: not NAME.fullmatch(f.json_name)):
        names[field.name] = _free(_clean(field.json_name), taken)
    return names


def has_symbols(type: ChoiceType) -> bool:
    """Whether the choices can be the symbols of an enum; if not, they are strings."""
    return all(NAME.fullmatch(value) for value in type.values)


class _Writer:
    """Writes one schema; every record and enum has a name of its own in it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def record(self, name: str, fields: Sequence[Field]) -> dict[str, Any]:
        own = _free(name, self._taken)
        names = field_names(fields)
        written = [self._field(own, names[field.name], field) for field in fields]
        return {"type": "record", "name": own, "fields": written}

    def _field(self, outer: str, name: str, field: Field) -> dict[str, Any]:
        nullable = field.nullable or field.is_born
        written: dict[str, Any] = {
            "name": name,
            "type": self._slot(f"{outer}_{name}", field.type, nullable),
        }
        if nullable:
            written["default"] = None
        if rules := [constraint.rule for constraint in field.constraints]:
            written["doc"] = "; ".join(rules)
        if name != field.json_name:
            written[JSON_NAME] = field.json_name
        if field.mask and field.is_masked:
            written[MASKED] = field.mask.way
        return written

    def _slot(self, name: str, type: Type, nullable: bool) -> Any:
        written = self._type(name, type)
        return ["null", written] if nullable else written

    def _type(self, name: str, type: Type) -> Any:
        if isinstance(type, DecimalType):
            digits = {"precision": type.precision, "scale": type.scale}
            return {"type": "bytes", "logicalType": "decimal", **digits}
        if isinstance(type, ChoiceType):
            if not has_symbols(type):
                return "string"
            own = _free(name, self._taken)
            return {"type": "enum", "name": own, "symbols": list(dict.fromkeys(type.values))}
        if isinstance(type, ListType):
            return {"type": "array", "items": self._slot(name, type.element, type.nullable)}
        if isinstance(type, NestedType):
            return self.record(name, type.fields)
        return _PLAIN[type.kind]


def _clean(name: str) -> str:
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return clean if NAME.fullmatch(clean) else f"_{clean}"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
