"""Reads a contract into a writer's schema: which value becomes which field, and what cannot.

The result is a tree of nodes that says how to read a value. What the schema alone shows to be
wrong is a `Problem` for every record; what depends on the value is a `Wrong` node, met or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.contract import ContractSpec
from penstock.contract.documents import Problem
from penstock.contract.types import Field, ListType, NestedType, Type
from penstock.serdes.avro.parse import Array, Enum, Map, Member, Plain, Record, Schema, Union
from penstock.serdes.avro.schema import field_names

TEXTS = ("string", "bytes")
NUMBERS = ("int", "long")
READABLE: dict[str, tuple[str, ...]] = {
    "str": TEXTS,
    "text": (*TEXTS, *NUMBERS),
    "choice": TEXTS,
    "uuid": TEXTS,
    "bytes": (*TEXTS, "fixed"),
    "int": NUMBERS,
    "float": ("float", "double", *NUMBERS),
    "bool": ("boolean",),
    "decimal": NUMBERS,
}
"""What Avro lets a reader take for each kind of type, whatever the logical type."""

LOGICAL: dict[str, tuple[tuple[str, str], ...]] = {
    "uuid": (("fixed", "uuid"),),
    "date": (("int", "date"),),
    "datetime": (
        ("long", "timestamp-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-nanos"),
    ),
    "decimal": (("bytes", "decimal"), ("fixed", "decimal")),
}
"""What only the logical type makes readable."""

WORDS = {
    "boolean": "a bool",
    "int": "an int",
    "long": "an int",
    "float": "a float",
    "double": "a float",
    "bytes": "bytes",
    "fixed": "bytes",
    "string": "a str",
}


@dataclass(frozen=True)
class Value:
    """Read a plain value or symbol as one of a type; without a type, pass over it."""

    schema: Plain | Enum
    type: Type | None = None


@dataclass(frozen=True)
class Null:
    """Nothing is read; `allowed` says whether a null may stand there."""

    allowed: bool


@dataclass(frozen=True)
class Wrong:
    """What stands there is not what the contract asks for."""

    rule: str
    field: str = ""


@dataclass(frozen=True, eq=False)
class Object:
    """Read a record.

    Args:
        members: In the writer's order; without a field, pass over it.
        fields: Of the contract. Those that no member is of are null.
    """

    members: list[tuple[Node, Field | None]] = field(default_factory=list, repr=False)
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Items:
    """Read an array, as one of a type or to pass over it; a map's items have names before them."""

    item: Node
    type: ListType | None = None
    named: bool = False


@dataclass(frozen=True)
class Choice:
    """Read one of several."""

    branches: tuple[Node, ...]


Node = Value | Null | Wrong | Object | Items | Choice


def resolve(schema: Schema, spec: ContractSpec) -> Object | Choice:
    """Say how values of a schema are read as a contract's rows.

    Raises:
        Problem: No value of this schema can be.
    """
    node = _slot(schema, NestedType(spec.name, spec.fields), nullable=False)
    assert isinstance(node, Object | Choice)  # noqa: S101 - what else an object can be
    return node


def _slot(schema: Schema, type: Type, nullable: bool) -> Node:
    """Read a value that may be null, if it may."""
    if isinstance(schema, Union):
        return Choice(tuple(_branch(branch, type, nullable) for branch in schema.branches))
    if schema == Plain("null"):
        if not nullable:
            raise Problem("null in a field that is not nullable", "null")
        return Null(allowed=True)
    return _typed(schema, type)


def _branch(schema: Schema, type: Type, nullable: bool) -> Node:
    """Read what may be there: it is wrong only where it is."""
    if schema == Plain("null"):
        return Null(nullable)
    try:
        return _slot(schema, type, nullable)
    except Problem as problem:
        return Wrong(problem.rule, problem.field)


def _typed(schema: Schema, type: Type) -> Node:
    if isinstance(type, NestedType) and isinstance(schema, Record):
        return _object(schema, type.fields)
    if isinstance(type, ListType) and isinstance(schema, Array):
        return Items(_branch(schema.items, type.element, type.nullable), type)
    if isinstance(schema, Enum) and type.kind in ("str", "text", "choice"):
        return Value(schema, type)
    if isinstance(schema, Plain):
        if schema.kind in READABLE.get(type.kind, ()):
            return Value(schema, type)
        if (schema.kind, schema.logical) in LOGICAL.get(type.kind, ()):
            return Value(schema, type)
        if type.kind == "datetime" and schema.logical.startswith("local-timestamp"):
            raise Problem("a datetime without a zone")
    raise Problem(f"expected {type.words}, got {_words(schema)}")


def _object(schema: Record, fields: Sequence[Field]) -> Object:
    wanted = field_names(fields)
    by_member = _matched(schema.members, fields, wanted)
    node = Object(fields=tuple(fields))
    for number, member in enumerate(schema.members):
        found = by_member.get(number)
        if found is None:
            node.members.append((skip(member.schema, {}), None))
            continue
        try:
            inner = _slot(member.schema, found.type, found.nullable or found.is_born)
        except Problem as problem:
            raise problem.inside(found.json_name) from None
        node.members.append((inner, found))
    given = {found.name for found in by_member.values()}
    for one in fields:
        if one.name not in given and not one.nullable and not one.is_born:
            raise Problem("the field is missing", field=one.json_name)
    return node


def _matched(
    members: Sequence[Member], fields: Sequence[Field], wanted: dict[str, str]
) -> dict[int, Field]:
    """Find each field's member: by its name, or else by a name that the member had before."""
    found: dict[int, Field] = {}
    for names in (slice(0, 1), slice(1, None)):
        for one in (one for one in fields if one not in found.values()):
            mine = {wanted[one.name], one.json_name}
            numbers = (n for n, member in enumerate(members) if mine & {*member.names[names]})
            number = next((n for n in numbers if n not in found), None)
            if number is not None:
                found[number] = one
    return found


def skip(schema: Schema, seen: dict[int, Object]) -> Node:
    """Pass over a value, whatever it is; a record that holds itself becomes a node that does."""
    if isinstance(schema, Plain):
        return Null(allowed=True) if schema.kind == "null" else Value(schema)
    if isinstance(schema, Enum):
        return Value(schema)
    if isinstance(schema, Array):
        return Items(skip(schema.items, seen))
    if isinstance(schema, Map):
        return Items(skip(schema.values, seen), named=True)
    if isinstance(schema, Union):
        return Choice(tuple(skip(branch, seen) for branch in schema.branches))
    if id(schema) not in seen:
        node = seen[id(schema)] = Object()
        node.members.extend((skip(member.schema, seen), None) for member in schema.members)
    return seen[id(schema)]


def _words(schema: Schema) -> str:
    if isinstance(schema, Plain):
        return WORDS.get(schema.kind, "null")
    if isinstance(schema, Array):
        return "a list"
    return "a str" if isinstance(schema, Enum) else "an object"
