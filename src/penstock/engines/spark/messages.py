"""Records as Spark reads them from Kafka, turned into those of a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from penstock.logs.kafka import frames
from penstock.plan import MicroBatch
from penstock.records import Span

COLUMNS = ("partition", "offset", "key", "value", "timestamp", "headers")
"""Of Spark's Kafka source, as `micro_batch` wants them."""


def micro_batch(batch: pa.RecordBatch, bases: Mapping[int, int]) -> MicroBatch:
    """Make a micro-batch of what one Arrow batch holds.

    Args:
        batch: `COLUMNS`, each partition's records in order.
        bases: Order bases of the log's partitions.
    """
    records = frames.from_columns(pl.DataFrame(batch))
    partition = records["partition"]
    numbers = pl.Series([bases[p] for p in range(len(bases))], dtype=pl.Int64)
    order = (numbers.gather(partition) + records["offset"]).alias("order")
    return MicroBatch(_spans(records), records.hstack([order]))


def _spans(records: pl.DataFrame) -> dict[int, Span]:
    ends = records.group_by("partition").agg(
        pl.col("offset").first().alias("start"), pl.col("offset").last().alias("last")
    )
    return {p: Span(start, last + 1) for p, start, last in ends.sort("partition").iter_rows()}
