"""Reads changes of rows with a key: what is there after each, or that it is gone.

A change is a JSON object on a line of its own. It has `op` (`read`, `insert`, `update` or
`delete`), `key` (the key's columns), unless it is a delete `after` (all columns), and `unchanged`
(names of columns that `after` lacks, because the system did not send what an update left alone).
What else it says is for people.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import polars as pl

from penstock.contract.documents import Problem
from penstock.contract.framing import Pieces, lines
from penstock.contract.spec import ContractSpec


class _Change(msgspec.Struct):
    op: Literal["read", "insert", "update", "delete"]
    key: msgspec.Raw
    after: msgspec.Raw = msgspec.Raw()
    unchanged: frozenset[str] = frozenset()


_CHANGE = msgspec.json.Decoder(_Change)
_KEY = msgspec.json.Decoder(dict[str, msgspec.Raw])


def cut(spec: ContractSpec, values: pl.Series) -> Pieces:
    """Cut values into the documents of their records, and the keys of what is gone.

    A change is a problem when its key is not the contract's, or when it lacks a value that the
    contract names.
    """
    names = frozenset(field.json_name for field in spec.fields)
    key = frozenset(field.json_name for field in spec.only(spec.key).fields)
    pieces = Pieces()
    for row, body in enumerate(values.to_list()):
        for index, line in enumerate(lines(body)):
            try:
                change = _read(line, names, key)
            except Problem as problem:
                pieces.problems.append((row, index, problem))
                continue
            if change.op == "delete":
                pieces.gone.append((row, index, bytes(change.key)))
            else:
                pieces.documents.append(bytes(change.after))
                pieces.rows.append(row)
                pieces.indexes.append(index)
    return pieces


def _read(line: bytes, names: frozenset[str], key: frozenset[str]) -> _Change:
    try:
        change = _CHANGE.decode(line)
        keyed = _KEY.decode(change.key).keys()
    except (ValueError, RecursionError):
        raise Problem("not a change of a row", line[:200]) from None
    if (change.op == "delete") == bool(bytes(change.after)):
        raise Problem("a change with neither a row nor a delete", line[:200])
    if key and keyed != key:
        theirs, ours = ", ".join(sorted(keyed)), ", ".join(sorted(key))
        raise Problem(f"the table's key is ({theirs}), the contract's is ({ours})")
    for name in sorted(change.unchanged & names):
        raise Problem(
            "the value was not sent: it is large and the update left it alone. "
            "Give the table REPLICA IDENTITY FULL",
            field=name,
        )
    return change
