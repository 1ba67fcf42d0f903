"""Gets what a trial's runs read: polls sources, reads logs, makes records up."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import polars as pl

from penstock.contract import encode, encode_key, synthetic
from penstock.engines.stopping import Stop, StoppableClock
from penstock.engines.trials.recording import SCHEMA, Recorded, completed
from penstock.errors import Refused
from penstock.interfaces import Attentive
from penstock.logs import tables
from penstock.logs.landing import headers_of
from penstock.postgresql import connection
from penstock.records import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.engines.systems import Systems
    from penstock.interfaces import Source
    from penstock.plan import Segment

PARTITIONS = 2
"""Of a topic whose records are made up."""

_OFTEN = 10
"""One made-up record in so many has the key of an earlier one."""

_BEFORE = 7
"""How many records before."""

_SPOILT = 25
"""One made-up record in so many is bad."""


def polled(source: Source, most: int) -> Recorded:
    """Poll a source once, from its beginning.

    Args:
        source: Of a landing.
        most: Responses to take at most: a source may never end.

    Raises:
        Unavailable, Refused: As the source does.
    """
    polling = source.poll(None, StoppableClock(Stop()))
    rows = []
    try:
        for response in islice(polling, most):
            headers = headers_of(response)
            rows.append((response.body, headers and headers.encode(), datetime.now(UTC)))
    finally:
        if isinstance(source, Attentive):  # nothing is landed: it holds no place for us
            source.leave()
    schema = {name: SCHEMA[name] for name in ("value", "headers", "born")}
    return completed(pl.DataFrame(rows, schema=schema, orient="row"), 1)


def held(systems: Systems, segment: Segment, most: int) -> Recorded:
    """Take the oldest records of the log that a segment reads; it is left as it is.

    Args:
        systems: Entered.
        segment: That reads it.
        most: Offsets of each partition at most.

    Raises:
        Refused: There is no such log.
        Unavailable: Its system is away.
    """
    if url := systems.tables_of(segment):
        with closing(connection.connect(url, name="parity")) as session:
            if tables.find(session, segment.kind, segment.name) is None:
                raise Refused(
                    f"there is no {segment.kind} {segment.name!r} to take records from; run the "
                    "pipeline on this profile first, or leave --held out"
                )
    with closing(systems.log(replace(segment, retention=None))) as log:
        spans = log.spans()
        taken = {p: Span(s.start, min(s.end, s.start + most)) for p, s in spans.items()}
        return completed(log.reread(taken).records, len(spans))


def made_up(segment: Segment, count: int, seed: int) -> Recorded:
    """Make up records of a topic that others write, some of them bad, deletes or updates.

    Args:
        segment: That reads it.
        count: How many.
        seed: The same one gives the same records.
    """
    rows = synthetic(segment.spec, count, seed)
    again = pl.int_range(pl.len()) % _OFTEN == 0
    rows = rows.with_columns(
        pl.coalesce(pl.when(again).then(pl.col(name).shift(_BEFORE)), pl.col(name))
        for name in segment.key
    )
    values = encode(segment.spec, rows)
    records = pl.DataFrame({"value": values}).with_columns(row=pl.lit(value=True))
    if segment.key:
        records = records.with_columns(key=encode_key(segment.spec, segment.key, rows))
    return completed(_with_bad_ones(records), segment.partitions or PARTITIONS)


def _with_bad_ones(records: pl.DataFrame) -> pl.DataFrame:
    """Spoil some records, each in another way in turn."""
    spoilt = [
        None if n % _SPOILT else _WAYS[n // _SPOILT % len(_WAYS)] for n in range(records.height)
    ]
    values: list[bytes | None] = [
        way(value) if way else value
        for way, value in zip(spoilt, records["value"].to_list(), strict=True)
    ]
    return records.with_columns(
        pl.Series("value", values, pl.Binary),
        row=~pl.Series([way is not None for way in spoilt], dtype=pl.Boolean),
    )


_WAYS: tuple[Callable[[bytes], bytes | None], ...] = (
    lambda value: None,
    lambda value: b"",
    lambda value: value[: len(value) // 2],
    lambda value: value + value,
    lambda value: b"\xff" + value,
    lambda value: value[:-1] + b',"more":{}}',
    lambda value: b"[]",
    lambda value: b"null",
)
"""How a record is spoilt: a delete, and what is no document of the contract. One stays good."""
