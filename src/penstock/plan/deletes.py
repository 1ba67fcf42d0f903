"""Deletes: records of a keyed topic whose value is null. The key alone says what goes."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from penstock.contract import ContractSpec, decode
from penstock.contract.types import BoolType, IntType
from penstock.interfaces import Cause

_LITERALS = (IntType, BoolType)
_LITERAL = rb"\A(-?\d+|true|false)\z"


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
        return Deletes(pl.DataFrame(schema={}), rows.clear(), failures)
    shape = spec.only(key)
    documents = records["key"] if len(key) > 1 else _document(shape, records["key"])
    lost = documents.is_null()
    failures = [
        (row, Cause("delete", "the key cannot be read", ",".join(key), _shown(value)))
        for row, value in records.filter(lost).select("_row", "key").iter_rows()
    ]
    rows = rows.filter(~lost)
    decoded = decode(shape, documents.filter(~lost))
    failures += [
        (
            rows[f.row],
            Cause(
                "delete", f"the key cannot be read: {f.cause.rule}", f.cause.field, f.cause.value
            ),
        )
        for f in decoded.failures
    ]
    good = rows[decoded.rows["_row"]]
    return Deletes(decoded.rows.select(key), good, sorted(failures, key=lambda f: f[0]))


def _document(shape: ContractSpec, keys: pl.Series) -> pl.Series:
    """Make a JSON document of each key's text, null where it is no text for its type."""
    field = shape.fields[0]
    text = keys.cast(pl.String, strict=False)
    frame = pl.DataFrame({field.json_name: text})
    if isinstance(field.type, _LITERALS):
        name = pl.struct(pl.lit("").alias(field.json_name)).struct.json_encode()
        head = name.str.strip_suffix('""}')
        literal = pl.col(field.json_name).str.contains(_LITERAL.decode())
        document = pl.when(literal).then(head + pl.col(field.json_name) + "}")
    else:
        there = pl.col(field.json_name).is_not_null()
        document = pl.when(there).then(pl.struct(field.json_name).struct.json_encode())
    return frame.select(document.cast(pl.Binary)).to_series()


def _shown(key: bytes | None) -> str:
    return "null" if key is None else repr(key[:100])
