"""What dead letters keep of records with masked fields: nothing that the plan would have masked.

A letter's record is rewritten: only fields that the contract names and does not mask keep their
values. What is no JSON is withheld whole. Such a record is marked, and read anew when it is sent
back: `penstock.engines.feed`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from penstock.contract import ContractSpec, Field
from penstock.contract.documents import DEPTH, Number, Pairs, Problem, parse
from penstock.contract.masking import MASKED
from penstock.contract.types import ListType, NestedType, Type
from penstock.interfaces import Framing
from penstock.records import WITHHELD

_OPS = ("read", "insert", "update", "delete")
_HIDDEN = json.dumps(MASKED)
_MARK = json.dumps(
    [[WITHHELD[0], base64.b64encode(WITHHELD[1].encode()).decode()]], separators=(",", ":")
).encode()


def withhold(
    spec: ContractSpec, framing: Framing, key: Sequence[str], records: pl.DataFrame
) -> pl.DataFrame:
    """Rewrite records of a log for their dead letters.

    Args:
        spec: The contract; without masks, records stay as they are.
        framing: How records lie in a value.
        key: Key columns of the topic; empty for a log without a key.
        records: At least `key`, `value` and `headers`.
    """
    if not spec.masks or records.is_empty():
        return records
    plain = {field.name for field in spec.fields if field.mask is None}
    keeps_key = bool(key) and plain.issuperset(key)
    keys = [k if k is None or keeps_key else MASKED.encode() for k in records["key"].to_list()]
    values = [_value(spec, framing, value) for value in records["value"].to_list()]
    return records.with_columns(
        pl.Series("key", keys, dtype=pl.Binary),
        pl.Series("value", values, dtype=pl.Binary),
        pl.lit(_MARK).alias("headers"),
    )


def is_withheld(records: pl.DataFrame) -> pl.Series:
    """Tell which records were rewritten."""
    return records.select(pl.col("headers").eq_missing(pl.lit(_MARK))).to_series()


def _value(spec: ContractSpec, framing: Framing, value: bytes | None) -> bytes | None:
    if value is None:
        return None
    if not framing.lines and not framing.changes:
        return _document(spec, framing, value).encode()
    line = _change if framing.changes else _document
    return "\n".join(line(spec, framing, one) for one in value.split(b"\n")).encode()


def _change(spec: ContractSpec, framing: Framing, line: bytes) -> str:
    """Keep what a change does, and rewrite its rows."""
    try:
        whole, flawed = parse(line, DEPTH + 1)
    except (Problem, RecursionError):
        return _HIDDEN
    if flawed or not _is_object(whole):
        return _HIDDEN
    rows = [(n, _record(spec.fields, value)) for n, value in whole if n in ("key", "after")]
    ops = [("op", json.dumps(op)) for name, op in whole if name == "op" and op in _OPS]
    return _object([*ops, *rows])


def _document(spec: ContractSpec, framing: Framing, document: bytes) -> str:
    try:
        whole, flawed = parse(document, DEPTH + len(framing.path) + framing.many)
    except (Problem, RecursionError):
        return _HIDDEN
    return _HIDDEN if flawed else _enveloped(spec, framing, whole, framing.path)


def _enveloped(spec: ContractSpec, framing: Framing, value: Any, path: tuple[str, ...]) -> str:
    """Keep the way to the records and their number in it."""
    if path:
        found = [inner for name, inner in value if name == path[0]] if _is_object(value) else []
        if len(found) != 1:
            return _HIDDEN
        return _object([(path[0], _enveloped(spec, framing, found[0], path[1:]))])
    if not framing.many:
        return _record(spec.fields, value)
    return _list(_record(spec.fields, one) for one in value) if _is_list(value) else _HIDDEN


def _record(fields: Sequence[Field], value: Any) -> str:
    if not _is_object(value):
        return _HIDDEN
    known = {field.json_name: field for field in fields}
    named = [(known[name], inner) for name, inner in value if name in known]
    return _object([(field.json_name, _field(field, inner)) for field, inner in named])


def _field(field: Field, value: Any) -> str:
    return _HIDDEN if field.mask is not None else _typed(field.type, value)


def _typed(type: Type, value: Any) -> str:
    """Write a value where it is what its type may hold; all else may be anything."""
    if value is None:
        return "null"
    if isinstance(type, NestedType):
        return _record(type.fields, value)
    if isinstance(type, ListType):
        return _list(_typed(type.element, one) for one in value) if _is_list(value) else _HIDDEN
    if isinstance(value, (list, tuple)):
        return _HIDDEN
    return str(value) if isinstance(value, Number) else json.dumps(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, Pairs)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs)


def _object(members: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members) + "}"


def _list(elements: Any) -> str:
    return "[" + ",".join(elements) + "]"
