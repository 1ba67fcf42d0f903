"""Deletes: records of a keyed topic whose value is null. The key alone says what goes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import polars as pl

from penstock.contract import ContractSpec, decode, masking
from penstock.contract.types import BoolType, IntType
from penstock.records import Cause

UNREADABLE = "the key of the delete cannot be read"
_LITERAL = re.compile(r"-?(0|[1-9][0-9]*)|true|false")


@dataclass(frozen=True)
class Deletes:
    """Deletes of a micro-batch.

    Args:
        keys: The key columns.
        rows: For each its row number in the records.
        failures: Row numbers of records whose key cannot be read, and why.
    """

    keys: pl.DataFrame
    rows: pl.Series
    failures: list[tuple[int, Cause]]


def read(spec: ContractSpec, key: tuple[str, ...], records: pl.DataFrame) -> Deletes:
    """Read the keys of records without a value.

    Args:
        spec: The topic's contract.
        key: The topic's key columns; empty for a log without a key.
        records: `_row` and `key` of the records.
    """
    rows = records["_row"]
    if not key:
        rule = "a record without a value, on a log that has no key"
        failures = [(row, Cause("delete", rule)) for row in rows.to_list()]
        return Deletes(pl.DataFrame(), rows.clear(), failures)
    shape, name = spec.only(key), ", ".join(key)
    keys = records["key"].to_list()
    documents = [_document(shape, value) for value in keys]
    lost = pl.Series([document is None for document in documents], dtype=pl.Boolean)
    failures = [
        (rows[at], Cause("delete", UNREADABLE, name, _shown(keys[at])))
        for at in lost.arg_true().to_list()
    ]
    rows = rows.filter(~lost)
    decoded = decode(shape, pl.Series([d for d in documents if d is not None], dtype=pl.Binary))
    for failure in decoded.failures:
        why = failure.cause
        cause = Cause("delete", f"{UNREADABLE}: {why.rule}", why.field or name, why.value)
        failures.append((rows[failure.row], cause))
    good = rows[decoded.rows["_row"]]
    told = [(row, masking.cause(spec, why)) for row, why in sorted(failures, key=lambda f: f[0])]
    return Deletes(masking.mask(shape, decoded.rows.select(key)), good, told)


def _document(shape: ContractSpec, key: bytes | None) -> bytes | None:
    """Make a JSON document of a key; None when it is no text for its type."""
    if key is None or len(shape.fields) > 1:
        return key
    field = shape.fields[0]
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    if not isinstance(field.type, IntType | BoolType):
        return json.dumps({field.json_name: text}).encode()
    literal = _LITERAL.fullmatch(text)
    return f"{{{json.dumps(field.json_name)}:{text}}}".encode() if literal else None


def _shown(key: bytes | None) -> str:
    return "null" if key is None else repr(key[:100])
