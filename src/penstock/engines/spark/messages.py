"""Records as Spark reads them from Kafka, turned into those of a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from penstock.logs.kafka import frames
from penstock.plan import MicroBatch
from penstock.records import Span

_ALONE = (
    f"size(headers) = 1 AND get(headers, 0).key = '{frames.BORN}'"
    f" AND length(get(headers, 0).value) = {frames.MICROSECONDS.size}"
)
"""Whether a record has our header and no other."""

# Flat: a list of structs costs Spark more on its way to Python than all the rest of a record.
COLUMNS = (
    "partition",
    "offset",
    "key",
    "value",
    "timestamp",
    f"CASE WHEN {_ALONE} THEN get(headers, 0).value END AS born",
    f"to_json(CASE WHEN coalesce({_ALONE}, false) THEN NULL ELSE headers END) AS headers",
)
"""Of Spark's Kafka source, in its SQL, as `micro_batch` wants them."""


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
