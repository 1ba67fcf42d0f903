"""Turns records into the arguments of `penstock.log_append`, column by column.

All values travel as one string of bytes that the server cuts, which is several times faster than
a value at a time, and needs no second transaction to stage them in.
"""

from __future__ import annotations

import json
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
    key_starts, key_sizes, keys = _joined(records["key"])
    value_starts, value_sizes, values = _joined(records["value"])
    size = len(keys) + len(values)
    if size > LIMIT:
        raise Refused(f"a batch of {size} bytes is too large for PostgreSQL; make it smaller")
    partitions = records["partition"]
    shares, ranks = _numbered(partitions, key_sizes + value_sizes)
    headers = records["headers"]
    return (
        shares,
        _array(partitions),
        ranks,
        _array(key_starts),
        _array(key_sizes),
        keys,
        _array(value_starts),
        _array(value_sizes),
        values,
        None if headers.null_count() == len(headers) else _texts(headers),
        _array(records["born"].cast(pl.Datetime("us", "UTC")).to_physical()),
    )


def _numbered(partitions: pl.Series, sizes: pl.Series) -> tuple[str, str]:
    """Count each partition's records and number them from 0.

    In plain Python: a group_by costs more than this on small batches, little less on large ones.
    """
    counts: dict[int, int] = {}
    largest: dict[int, int] = {}
    ranks = []
    for partition, size in zip(partitions, sizes, strict=True):
        rank = counts.get(partition, 0)
        ranks.append(str(rank))
        counts[partition] = rank + 1
        largest[partition] = max(size, largest.get(partition, 0))
    shares = [
        {"part": partition, "records": records, "largest": largest[partition]}
        for partition, records in sorted(counts.items())
    ]
    return json.dumps(shares), "{" + ",".join(ranks) + "}"


def _joined(column: pl.Series) -> tuple[pl.Series, pl.Series, bytes]:
    sizes = column.bin.size().cast(pl.Int64)
    filled = sizes.fill_null(0)
    starts = filled.cum_sum() - filled
    return starts, sizes.fill_null(-1), b"".join(column.drop_nulls().to_list())


def _array(column: pl.Series) -> str:
    return "{" + (column.cast(pl.String).fill_null("NULL").str.join(",").item() or "") + "}"


def _texts(column: pl.Series) -> list[str | None]:
    return [None if item is None else item.decode() for item in column.cast(pl.Binary)]
