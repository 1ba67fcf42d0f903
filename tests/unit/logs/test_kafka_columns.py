"""Kafka's records in columns, as Spark brings them, become the records of a log."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.logs.kafka.frames import BORN, MICROSECONDS, from_columns

WRITTEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEEN = datetime(2025, 1, 1, tzinfo=UTC)
OURS = MICROSECONDS.pack(int(SEEN.timestamp()) * 1_000_000)

Pairs = Sequence[tuple[str, bytes | None]]


def as_json(pairs: Pairs) -> str:
    """Headers as Spark's `to_json` writes them: a value that is null is left out."""
    named = [(name, None if value is None else b64encode(value).decode()) for name, value in pairs]
    return json.dumps([{"key": n} if v is None else {"key": n, "value": v} for n, v in named])


def columns(born: Sequence[bytes | None], headers: Sequence[str | None]) -> pl.DataFrame:
    height = len(born)
    return pl.DataFrame(
        {
            "partition": [0] * height,
            "offset": list(range(height)),
            "key": [b"k"] * height,
            "value": [b"v"] * height,
            "timestamp": [WRITTEN] * height,
            "born": born,
            "headers": headers,
        },
        schema_overrides={"born": pl.Binary, "headers": pl.String},
    )


def test_a_record_is_born_when_our_header_says_so_else_when_it_was_written() -> None:
    records = from_columns(columns([OURS, None], [None, None]))
    assert records["born"].to_list() == [SEEN, WRITTEN]
    assert records["headers"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("pairs", "born", "kept"),
    [
        ([("a", b"\xff\x00"), (BORN, OURS)], SEEN, [["a", "/wA="]]),
        ([("a", None), ("a", b"")], WRITTEN, [["a", None], ["a", ""]]),
        ([(BORN, b"no time")], WRITTEN, [[BORN, "bm8gdGltZQ=="]]),
        ([(BORN, None), ('"\n', b"x")], WRITTEN, [[BORN, None], ['"\n', "eA=="]]),
        ([], WRITTEN, None),
    ],
)
def test_other_headers_are_kept(
    pairs: Pairs, born: datetime, kept: list[list[str | None]] | None
) -> None:
    records = from_columns(columns([None, OURS, None], [as_json(pairs), None, None]))
    assert records["born"].to_list() == [born, SEEN, WRITTEN]
    found = records["headers"][0]
    assert (None if found is None else json.loads(found)) == kept
    assert records["headers"].to_list()[1:] == [None, None]
