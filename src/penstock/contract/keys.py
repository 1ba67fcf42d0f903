"""A record's key as bytes: one column as its text, several as a JSON object of these fields."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import polars as pl

from penstock.contract.decode import Decoded, decode
from penstock.contract.encode import document, safe
from penstock.contract.spec import ContractSpec

_LITERAL = re.compile(rb"-?[0-9]+|true|false")


def encode_key(spec: ContractSpec, columns: Sequence[str], frame: pl.DataFrame) -> pl.Series:
    """Encode each row's key; the same bytes whichever log they go to."""
    fields = spec.only(columns).fields
    one = fields[0]
    text = safe(one.type, pl.col(one.name)).cast(pl.String) if len(fields) == 1 else None
    key = document(fields) if text is None else text
    return frame.select(key.cast(pl.Binary).alias("key")).to_series()


def decode_key(spec: ContractSpec, columns: Sequence[str], keys: pl.Series) -> Decoded:
    """Read keys back into their columns, as strictly as `decode`; a delete has nothing else.

    Args:
        spec: The contract.
        columns: The key's columns in order.
        keys: A Binary series without nulls.
    """
    part = spec.only(columns)
    if len(part.fields) > 1:
        return decode(part, keys)
    name = msgspec.json.encode(part.fields[0].json_name)
    literal = part.fields[0].type.kind in ("int", "bool")
    documents = [b"{%b:%b}" % (name, _json(key, literal)) for key in keys.to_list()]
    return decode(part, pl.Series(documents, dtype=pl.Binary))


def _json(key: bytes, literal: bool) -> bytes:
    """Write a key's text as JSON; bytes that are no text stay, and fail to decode."""
    if literal and _LITERAL.fullmatch(key):
        return key
    try:
        return msgspec.json.encode(key.decode())
    except UnicodeDecodeError:
        return key
