"""Latency in buckets: exact counts, a bounded number of them, cheap to fill from a column."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_OCTAVE = 8


class Histogram:
    """How many rows took how long, in buckets an eighth of an octave wide (9 % apart).

    Bucket `b` counts latencies of up to `2 ** (b / 8)` microseconds.
    """

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets: Counter[int] = Counter(buckets or {})

    @classmethod
    def since(cls, born: pl.Series, now: datetime | None = None) -> Histogram:
        """Count the time from each `born` to now; nulls are left out, the future counts as 0."""
        moment = now or datetime.now(UTC)
        micros = (pl.lit(moment).cast(pl.Datetime("us", "UTC")) - pl.col("born")).dt
        bucket = (micros.total_microseconds().clip(1).log(2) * _PER_OCTAVE).ceil().cast(pl.Int32)
        counts = (
            pl.DataFrame({"born": born}).drop_nulls().select(bucket.alias("b").value_counts())
        )["b"].struct.unnest()
        return cls(dict(zip(counts["b"].to_list(), counts["count"].to_list(), strict=True)))

    @property
    def total(self) -> int:
        """How many were counted."""
        return self.buckets.total()

    def merge(self, other: Histogram) -> None:
        """Add another's counts."""
        self.buckets.update(other.buckets)

    def percentile(self, share: float) -> float | None:
        """Seconds within which `share` (0 to 1) of the rows were; None when there are none."""
        left = math.ceil(self.total * share)
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return float(2 ** (bucket / _PER_OCTAVE) / 1e6)
        return None
