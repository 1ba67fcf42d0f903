"""Messages of librdkafka as a frame of log records, column by column."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from struct import Struct, unpack
from typing import cast

import msgspec
import polars as pl
from confluent_kafka import Message

from penstock.logs.columns import RECORDS

BORN = "penstock-born"
"""Header with the time when a record was first seen: `MICROSECONDS` since 1970."""

MICROSECONDS = Struct(">q")

Headers = Sequence[tuple[str, bytes | None]]

# What librdkafka types as possibly missing, every message has that it gives a consumer.
partition_of: Callable[[Message], int] = Message.partition  # type: ignore[assignment]
offset_of: Callable[[Message], int] = Message.offset  # type: ignore[assignment]
headers_of: Callable[[Message], Headers | None] = Message.headers  # type: ignore[assignment]

_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999: what foreign producers call a time may be any number."""


def frame(messages: Sequence[Message]) -> pl.DataFrame:
    """Turn messages without errors, each partition's in order, into `RECORDS`."""
    headers = list(map(headers_of, messages))
    rest: list[bytes | None] | None = None
    if not any(headers):
        born = _timestamps(messages)
    elif (alone := _born_alone(headers)) is not None:
        born = alone
    else:
        times = zip(headers, _timestamps(messages), strict=True)
        born = pl.Series([_born(found or (), time) for found, time in times], dtype=pl.Int64)
        rest = [_document(found or ()) for found in headers]
    return pl.DataFrame(
        [
            pl.Series("partition", list(map(partition_of, messages)), pl.Int32),
            pl.Series("offset", list(map(offset_of, messages)), pl.Int64),
            pl.Series("key", list(map(Message.key, messages)), pl.Binary),
            pl.Series("value", list(map(Message.value, messages)), pl.Binary),
            pl.Series("headers", rest or [None] * len(messages), pl.Binary),
            _bounded(born, _FIRST, _LAST).cast(RECORDS["born"]).alias("born"),
        ]
    ).sort("partition", maintain_order=True)


def from_columns(found: pl.DataFrame) -> pl.DataFrame:
    """Turn messages that came in columns into `RECORDS`.

    Args:
        found: `partition`, `offset`, `key`, `value`, `timestamp`; `born`, the value of our header
            where it is the only one; `headers`, all of them, as JSON, where there are others.
    """
    times = found["timestamp"].cast(RECORDS["born"]).to_physical()
    own = found["born"].bin.reinterpret(dtype=pl.Int64, endianness="big")
    born = own.zip_with(own.is_not_null(), times)
    rest: list[bytes | None] | None = None
    if found["headers"].null_count() < found.height:
        pairs = [_pairs(document) for document in found["headers"]]
        born = pl.Series([_born(*one) for one in zip(pairs, born, strict=True)], dtype=pl.Int64)
        rest = [_document(one) for one in pairs]
    return pl.DataFrame(
        [
            found["partition"].cast(RECORDS["partition"]),
            found["offset"],
            found["key"],
            found["value"],
            pl.Series("headers", rest or [None] * found.height, pl.Binary),
            _bounded(born, _FIRST, _LAST).cast(RECORDS["born"]).alias("born"),
        ]
    ).sort("partition", maintain_order=True)


class _Header(msgspec.Struct):
    key: str
    value: bytes | None = None


_HEADERS = msgspec.json.Decoder(list[_Header])


def _pairs(document: str | None) -> Headers:
    return [(h.key, h.value) for h in _HEADERS.decode(document)] if document else ()


def _timestamps(messages: Iterable[Message]) -> pl.Series:
    """The times that producers or brokers gave, in microseconds."""
    millis = pl.Series([message.timestamp()[1] for message in messages], dtype=pl.Int64)
    return _bounded(millis, _FIRST // 1000, _LAST // 1000) * 1000


def _bounded(numbers: pl.Series, least: int, most: int) -> pl.Series:
    lowest, highest = numbers.min(), numbers.max()  # much quicker than `clip`, and never outside
    if lowest is None or least <= cast(int, lowest) <= cast(int, highest) <= most:
        return numbers
    return numbers.clip(least, most)


def _born_alone(headers: Sequence[Headers | None]) -> pl.Series | None:
    """The times of birth, when every record has that header and no other: quick, as it is ours."""
    firsts = [found[0] for found in headers if found and len(found) == 1]
    values = [value for name, value in firsts if name == BORN and value and len(value) == 8]
    if len(values) != len(headers):
        return None
    return pl.Series(unpack(f">{len(values)}q", b"".join(values)), dtype=pl.Int64)


def _born(headers: Headers, time: int) -> int:
    for header in reversed(headers):
        if _is_born(header):
            return int(MICROSECONDS.unpack(header[1] or b"")[0])
    return time


def _is_born(header: tuple[str, bytes | None]) -> bool:
    return header[0] == BORN and header[1] is not None and len(header[1]) == MICROSECONDS.size


def _document(headers: Headers) -> bytes | None:
    """The other headers, in their order, as `records.LOG_COLUMNS` has them."""
    pairs = [
        [name, None if value is None else b64encode(value).decode()]
        for name, value in headers
        if not _is_born((name, value))
    ]
    return json.dumps(pairs).encode() if pairs else None
