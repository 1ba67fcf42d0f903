"""Reads the schema that somebody wrote values with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.serdes.avro.schema import JSON_NAME

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class SchemaError(ValueError):
    """A text is no Avro schema."""


@dataclass(frozen=True)
class Plain:
    """A primitive, or bytes of a fixed size.

    Args:
        kind: One of `PRIMITIVES`, or `fixed`.
        logical: The logical type, or nothing.
        scale: Digits after a decimal's point.
        size: Bytes of a fixed.
    """

    kind: str
    logical: str = ""
    scale: int = 0
    size: int = 0


@dataclass(frozen=True)
class Enum:
    """One of some symbols."""

    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """A list."""

    items: Schema


@dataclass(frozen=True)
class Map:
    """Values by name."""

    values: Schema


@dataclass(frozen=True)
class Union:
    """One of several."""

    branches: tuple[Schema, ...]


@dataclass(frozen=True)
class Member:
    """A field of a record.

    Args:
        names: Its name, its aliases, and its JSON name where it says one.
        schema: Of its value.
    """

    names: tuple[str, ...]
    schema: Schema


@dataclass(frozen=True, eq=False)
class Record:
    """Fields in order. They are filled in while the schema is read: a record may hold itself."""

    members: list[Member] = field(default_factory=list, repr=False)


Schema = Plain | Enum | Array | Map | Union | Record


def parse(text: str, references: Sequence[str] = ()) -> Schema:
    """Read a schema.

    Args:
        text: In JSON.
        references: Schemas whose types it names, in an order in which each can be read.

    Raises:
        SchemaError: It is none.
    """
    reader = _Reader()
    try:
        for reference in references:
            reader.read(json.loads(reference), "")
        return reader.read(json.loads(text), "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SchemaError(f"the schema is no Avro schema: {error!r:.200}") from error


class _Reader:
    def __init__(self) -> None:
        self._named: dict[str, Schema] = {}

    def read(self, given: Any, space: str) -> Schema:
        if isinstance(given, str):
            return self._by_name(given, space)
        if isinstance(given, list):
            return Union(tuple(self.read(branch, space) for branch in given))
        kind = given["type"]
        if not isinstance(kind, str):
            return self.read(kind, space)
        if kind in ("record", "error"):
            return self._record(given, space)
        if kind == "array":
            return Array(self.read(given["items"], space))
        if kind == "map":
            return Map(self.read(given["values"], space))
        if kind == "enum":
            return self._keep(given, space, Enum(tuple(map(str, given["symbols"]))))
        if kind == "fixed":
            return self._keep(given, space, _plain(given, size=_size(given["size"])))
        return _plain(given) if kind in PRIMITIVES else self._by_name(kind, space)

    def _by_name(self, name: str, space: str) -> Schema:
        if name in PRIMITIVES:
            return Plain(name)
        full = name if "." in name or not space else f"{space}.{name}"
        return self._named[full if full in self._named else name]

    def _record(self, given: dict[str, Any], space: str) -> Schema:
        record = Record()
        self._keep(given, space, record)
        inner = _full(given, space).rpartition(".")[0]
        for one in given["fields"]:
            names = [one["name"], *one.get("aliases", ()), *filter(None, [one.get(JSON_NAME)])]
            record.members.append(Member(tuple(map(str, names)), self.read(one["type"], inner)))
        return record

    def _keep(self, given: dict[str, Any], space: str, schema: Schema) -> Schema:
        self._named[_full(given, space)] = schema
        return schema


def _full(given: dict[str, Any], space: str) -> str:
    name = str(given["name"])
    space = str(given.get("namespace", space) or "")
    return name if "." in name or not space else f"{space}.{name}"


def _plain(given: dict[str, Any], size: int = 0) -> Plain:
    logical = given.get("logicalType")
    return Plain(
        str(given["type"]),
        logical if isinstance(logical, str) else "",
        int(given.get("scale", 0)) if logical == "decimal" else 0,
        size,
    )


def _size(given: Any) -> int:
    if not isinstance(given, int) or given < 0:
        raise ValueError(f"a fixed has {given!r} bytes")
    return given
