"""Messages of librdkafka as a frame of log records, column by column."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from struct import Struct

import polars as pl
from confluent_kafka import Message

BORN = "penstock-born"
"""Header with the time when a record was first seen: `MICROSECONDS` since 1970."""

MICROSECONDS = Struct(">q")

RECORDS = pl.Schema(
    {
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": pl.Binary(),
        "born": pl.Datetime("us", "UTC"),
    }
)
"""Types of `records.LOG_COLUMNS`."""

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
    if any(headers):
        born, rest = _split(messages, headers)
    else:
        born, rest = _timestamps(messages), None
    made = pl.DataFrame(
        [
            pl.Series("partition", list(map(partition_of, messages)), pl.Int32),
            pl.Series("offset", list(map(offset_of, messages)), pl.Int64),
            pl.Series("key", list(map(Message.key, messages)), pl.Binary),
            pl.Series("value", list(map(Message.value, messages)), pl.Binary),
            pl.Series("headers", rest, pl.Binary)
            if rest
            else pl.repeat(None, len(messages), dtype=pl.Binary, eager=True).alias("headers"),
            pl.Series("born", born, pl.Int64).cast(RECORDS["born"]),
        ]
    )
    return made.sort("partition", maintain_order=True)


def _timestamps(messages: Iterable[Message]) -> list[int]:
    return [_bounded(message.timestamp()[1] * 1000) for message in messages]


def _bounded(micros: int) -> int:
    return max(_FIRST, min(micros, _LAST))


def _split(
    messages: Sequence[Message], headers: Iterable[Headers | None]
) -> tuple[list[int], list[bytes | None] | None]:
    """Take the time of birth out of the headers; where it is not, take the message's time."""
    born: list[int] = []
    rest: list[bytes | None] = []
    unpack = MICROSECONDS.unpack
    for message, found in zip(messages, headers, strict=True):
        if found and len(found) == 1 and _is_born(found[0]):
            born.append(unpack(found[0][1] or b"")[0])
            rest.append(None)
        else:
            born.append(_born(message, found or ()))
            rest.append(_document(found or ()))
    return list(map(_bounded, born)), rest


def _born(message: Message, headers: Headers) -> int:
    for header in reversed(headers):
        if _is_born(header):
            return int(MICROSECONDS.unpack(header[1] or b"")[0])
    return message.timestamp()[1] * 1000


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
