"""Turns records into the arguments of `penstock.log_append`, column by column.

All values travel as one string of bytes that the server cuts, which is several times faster than
a value at a time, and needs no second transaction to stage them in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import polars as pl

from penstock.errors import Refused

PARAMETERS = (
    "%s::jsonb, %s::int[], %s::int[], %s::int[], %s::int[], %b::bytea,"
    " %s::int[], %s::int[], %b::bytea, %s::text[], %s::bigint[]"
)
"""Placeholders for what `arguments` gives."""

LIMIT = 900 << 20
"""Bytes of values in one message; PostgreSQL takes at most 1 GiB."""


def arguments(records: pl.DataFrame) -> tuple[Any, ...]:
    """Prepare records for the server, as values for `PARAMETERS`.

    Args:
        records: `partition`, `key`, `value`, `headers`, `born`, in the order they shall have.

    Raises:
        Refused: The batch is too large for one message.
    """
    keys, values = (b"".join(records[name].drop_nulls().to_list()) for name in ("key", "value"))
    size = len(keys) + len(values)
    if size > LIMIT:
        raise Refused(f"a batch of {size} bytes is too large for PostgreSQL; make it smaller")
    texts = records.select(_NUMBERS).select(pl.all().fill_null("NULL").str.join(","))
    arrays = {name: "{" + text + "}" for name, text in texts.row(0, named=True).items()}
    headers = records["headers"]
    return (
        json.dumps(records.group_by("partition").agg(_SHARE).to_dicts()),
        arrays["partition"],
        arrays["rank"],
        arrays["key_start"],
        arrays["key_size"],
        keys,
        arrays["value_start"],
        arrays["value_size"],
        values,
        None if headers.null_count() == len(headers) else _texts(headers),
        arrays["born"],
    )


def bodies(
    values: Sequence[bytes], headers: Sequence[str | None], born: datetime
) -> tuple[Any, ...]:
    """Prepare a landing's responses: one partition, no keys; a few need no columns.

    Args:
        values: The bodies, in the order they shall have.
        headers: Of each.
        born: When they came.

    Raises:
        Refused: The batch is too large for one message.
    """
    count, sizes = len(values), [len(value) for value in values]
    if sum(sizes) > LIMIT:
        raise Refused(f"a batch of {sum(sizes)} bytes is too large; make it smaller")
    starts = [*accumulate(sizes, initial=0)][:-1]
    share = {"partition": 0, "records": count, "largest": max(sizes, default=0)}
    micros = (born - _EPOCH) // timedelta(microseconds=1)
    return (
        json.dumps([share] if values else []),
        _array([0] * count),
        _array(range(count)),
        _array([0] * count),
        _array([-1] * count),
        b"",
        _array(starts),
        _array(sizes),
        b"".join(values),
        list(headers) if any(header is not None for header in headers) else None,
        _array([micros] * count),
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _size(name: str) -> pl.Expr:
    return pl.col(name).bin.size().cast(pl.Int64)


def _start(name: str) -> pl.Expr:
    size = _size(name).fill_null(0)
    return size.cum_sum() - size


_NUMBERS = [
    expression.cast(pl.String).alias(name)
    for name, expression in {
        "partition": pl.col("partition"),
        "rank": pl.int_range(pl.len()).over("partition"),
        "key_start": _start("key"),
        "key_size": _size("key").fill_null(-1),
        "value_start": _start("value"),
        "value_size": _size("value").fill_null(-1),
        "born": pl.col("born").cast(pl.Datetime("us", "UTC")).to_physical(),
    }.items()
]

_SHARE = [
    pl.len().alias("records"),
    (_size("key").fill_null(0) + _size("value").fill_null(0)).max().alias("largest"),
]


def _texts(column: pl.Series) -> list[str | None]:
    return [None if item is None else item.decode() for item in column.cast(pl.Binary)]
