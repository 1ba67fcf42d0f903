"""Decodes one JSON document slowly and exactly: this module defines what decoding means.

The fast way (`fast`) takes only what it can prove to be the same; all else comes here, and every
dead letter's cause is found here.
"""

from __future__ import annotations

from typing import Any

from penstock.contract.documents import (
    DEPTH,
    LARGEST,
    PAIRS,
    TOO_DEEP,
    Pairs,
    Problem,
    flaw,
    kind_of,
    parse,
    shallow,
)
from penstock.contract.scalars import scalar, wrong
from penstock.contract.types import Field, ListType, NestedType, Type


def decode(document: bytes, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Decode one document into the values of a row.

    Raises:
        Problem: It is no record; says why.
    """
    if len(document) > LARGEST:
        raise Problem(f"larger than {LARGEST >> 20} MiB", document[:20])
    if document.lstrip(b" \t\r\n").startswith(b"["):
        raise Problem("expected an object, got a list", [document])
    try:
        document.decode()
    except UnicodeDecodeError as error:
        raise Problem("not valid UTF-8", document[error.start : error.start + 20]) from None
    value, flawed = parse(document, DEPTH)
    if flawed:
        raise Problem(flaw(value) or TOO_DEEP, document[:200])
    return record(value, fields)


def sound(document: bytes, fields: tuple[Field, ...]) -> bool:
    """Whether a document that is known to fit its types doubles no field and is not too deep."""
    try:
        text = document.decode()
        return shallow(text, DEPTH) == text and not _doubles(PAIRS.decode(text), fields)
    except (ValueError, RecursionError):  # `decode` finds out why
        return False


def _doubles(value: Any, fields: tuple[Field, ...]) -> bool:
    """Whether an object, or one inside it, has a named field twice."""
    if isinstance(value, Pairs):
        given = dict(value)
        names = {f.json_name for f in fields}
        named = sum(name in names for name, _ in value)
        return named > len(names & given.keys()) or any(
            _doubles(given.get(f.json_name), f.type.inmost.fields)
            for f in fields
            if isinstance(f.type.inmost, NestedType)
        )
    return isinstance(value, list) and any(_doubles(element, fields) for element in value)


def record(value: Any, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Turn a parsed object into the values of one row.

    Raises:
        Problem: The object breaks a type of the contract.
    """
    if not isinstance(value, Pairs):
        raise Problem(f"expected an object, got {kind_of(value)}", value)
    given = _unique(value, {f.json_name for f in fields})
    row = {}
    for field in fields:
        try:
            row[field.name] = _field(field, given)
        except Problem as problem:
            raise problem.inside(field.json_name) from None
    return row


def _unique(pairs: Pairs, names: set[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given and name in names:
            raise Problem("duplicate key", value, name)
        given[name] = value
    return given


def _field(field: Field, given: dict[str, Any]) -> Any:
    nullable = field.nullable or field.is_born
    if field.json_name in given:
        return _slot(field.type, given[field.json_name], nullable)
    if nullable:
        return None
    raise Problem("the field is missing")


def _slot(type: Type, value: Any, nullable: bool) -> Any:
    if value is not None:
        return convert(type, value)
    if nullable:
        return None
    raise Problem("null in a field that is not nullable", "null")


def convert(type: Type, value: Any) -> Any:
    """Turn a parsed value into what a column of the type holds.

    Raises:
        Problem: The value is not of the type, or not in its domain.
    """
    if isinstance(type, NestedType):
        return record(value, type.fields)
    if isinstance(type, ListType):
        return _list(type, value)
    return scalar(type, value)


def _list(type: ListType, value: Any) -> list[Any]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise wrong(type, value)
    elements = []
    for number, element in enumerate(value):
        try:
            elements.append(_slot(type.element, element, type.nullable))
        except Problem as problem:
            raise problem.inside(str(number)) from None
    return elements
