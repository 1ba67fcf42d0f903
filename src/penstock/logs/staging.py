"""What every sink that writes a topic does before it sends: encode, choose partitions, count."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import polars as pl

from penstock import receipts as counting
from penstock.contract import encode_key
from penstock.plan import Lane
from penstock.records import Counts, LaneKey, Receipt, Step
from penstock.serdes.partitioner import partition_of

WRITER = "penstock-writer"
"""Header of records in a topic that several segments write: `pipeline/segment`, quoted as in URLs.
By it `reconcile --deep` tells whose they are."""

STAGED = pl.Schema(
    {
        "partition": pl.Int32(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": pl.Binary(),
        "born": pl.Datetime("us", "UTC"),
        "source": pl.Int32(),
        "deleted": pl.Boolean(),
    }
)
"""Columns of staged records: `source` is the partition that a row came from."""


def writer(key: LaneKey) -> bytes:
    """Say who writes, as the value of the header `WRITER`."""
    return f"{quote(key.pipeline, safe='')}/{quote(key.segment, safe='')}".encode()


def signed(key: LaneKey) -> bytes:
    """The headers of a record that this lane alone may have written, as a log gives them."""
    return json.dumps([[WRITER, b64encode(writer(key)).decode()]]).encode()


def is_signed(headers: pl.Expr) -> pl.Expr:
    """Whether a record's headers say who wrote it."""
    return headers.bin.contains(WRITER.encode()).fill_null(value=False)


def staged(lane: Lane, rows: pl.DataFrame) -> pl.DataFrame:
    """Turn a topic lane's rows into records of `STAGED`: a delete has no value.

    With a key, the partition is the one that Kafka's default partitioner chooses; without, rows
    go in turn by their offset, so that a row always goes to the same place.
    """
    spec, key = lane.spec, lane.key
    nothing = pl.repeat(None, rows.height, dtype=pl.Binary)
    keys = encode_key(spec, key, rows) if key else nothing
    in_turn = (rows["_offset"] % lane.partitions).cast(pl.Int32)
    deleted = rows["_deleted"].fill_null(value=False)
    return pl.select(
        partition=partition_of(keys, lane.partitions) if isinstance(keys, pl.Series) else in_turn,
        key=keys,
        value=pl.when(~pl.lit(deleted)).then(pl.lit(lane.codec.encode(spec, rows))),
        headers=nothing,
        born=rows["_born"],
        source=rows["_partition"],
        deleted=deleted,
    )


def gathered(
    lane: str,
    frames: Iterable[pl.DataFrame],
    receipts: Sequence[Receipt],
    steps: Mapping[int, Step],
) -> pl.DataFrame:
    """Put what was staged together, when it is as much as the receipts count.

    Raises:
        Refused: It is not, or does not move; nothing was written.
    """
    together = pl.concat([STAGED.to_frame(), *frames], how="diagonal")
    counting.check(lane, receipts, per_partition(together["source"]), steps)
    return together


def counted(
    records: pl.DataFrame, steps: Mapping[int, Step], superseded: Mapping[int, int] | None = None
) -> dict[int, Step]:
    """Add what is written, deleted and superseded to each partition's totals."""
    sums = records.group_by("source").agg(
        (~pl.col("deleted")).sum().alias("written"), pl.col("deleted").sum().alias("deleted")
    )
    counts = {source: Counts(written=w, deleted=d) for source, w, d in sums.iter_rows()}
    late = {source: Counts(superseded=rows) for source, rows in (superseded or {}).items()}
    return counting.counted(steps, counting.added([counts, late]))


def per_partition(column: pl.Series) -> dict[int, int]:
    """How many rows there are of each partition."""
    counts = column.value_counts()
    return dict(zip(counts[column.name], counts["count"], strict=True))
