"""Headers of the records that Penstock writes, and what they tell when they are read back."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from struct import Struct

import polars as pl

from penstock.logs import staging
from penstock.logs.kafka.frames import BORN, MICROSECONDS

ORDER = "penstock-order"
"""Header with a row's order stamp: of a key the record with the highest one is the newest."""

POSITION = "penstock-position"
"""Header with a row's position: `partition/offset/index` in the log that it was read from."""

Headers = dict[str, str | bytes | None]

_WRITTEN = re.compile(rb"(-?\d{1,9})/(\d{1,18})/(-?\d{1,18})")
_STAMP = Struct(">q")

_PLACE = {
    "_order": pl.Int64(),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_index": pl.Int64(),
}
_MARKS = pl.Schema({"writer": pl.Binary(), **_PLACE})
MARKED = pl.Schema({"key": pl.Binary(), "value": pl.Binary(), **_PLACE})
"""Key and value of a record that Penstock wrote, with what its headers tell."""


def of(records: pl.DataFrame, common: Headers) -> Iterator[Headers]:
    """Make the headers of each record.

    Args:
        records: `born`; `order` and `position`, too, in a topic of a store.
        common: Headers that all of them have.
    """
    born = records["born"].to_physical()
    if "position" not in records.columns:
        made = {at: {BORN: MICROSECONDS.pack(at), **common} for at in born.unique()}
        return map(made.__getitem__, born.to_list())
    columns = zip(born.to_list(), records["order"].to_list(), records["position"], strict=True)
    return (
        {BORN: MICROSECONDS.pack(at), ORDER: _STAMP.pack(order), POSITION: position, **common}
        for at, order, position in columns
    )


def marks(records: pl.DataFrame) -> pl.DataFrame:
    """Read what headers tell: `writer`, `_order`, `_partition`, `_offset`, `_index`; null if none.

    Args:
        records: Of a log.
    """
    rows = [_marks(document) for document in records["headers"].to_list()]
    return pl.DataFrame(rows, _MARKS, orient="row")


def _marks(document: bytes | None) -> tuple[object, ...]:
    pairs = dict(json.loads(document)) if document else {}
    found = {name: b64decode(value) for name, value in pairs.items() if value is not None}
    stamp, place = found.get(ORDER, b""), _WRITTEN.fullmatch(found.get(POSITION, b""))
    order = _STAMP.unpack(stamp)[0] if len(stamp) == _STAMP.size else None
    where = map(int, place.groups()) if place else [None] * 3
    return found.get(staging.WRITER), order, *where
