"""Latencies in buckets: exact counts, a bounded number of them, cheap to fill from a column."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl

_PER_OCTAVE = 8
_FEW = 1_000
"""Up to so many rows, counting one by one is faster than a query's fixed cost."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Histogram:
    """How many took how long, in buckets an eighth of an octave wide (9 % apart).

    Bucket `b` counts what took more than `2 ** ((b - 1) / 8)` and at most `2 ** (b / 8)`
    microseconds; bucket 0 also what took less.

    Args:
        buckets: Counts by bucket.
    """

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets: Counter[int] = Counter(buckets or {})

    @classmethod
    def since(cls, born: pl.Series, now: datetime | None = None) -> Histogram:
        """Count the time from each `born` to now; nulls are left out, the future counts as 0."""
        rows = pl.DataFrame({"partition": pl.zeros(len(born), pl.Int32, eager=True), "born": born})
        return cls.since_by(rows, now).get(0, cls())

    @classmethod
    def since_by(cls, rows: pl.DataFrame, now: datetime | None = None) -> dict[int, Histogram]:
        """Do what `since` does for each partition; `rows` has the partition and `born`."""
        now = now or datetime.now(UTC)
        if rows.height <= _FEW:
            return cls._one_by_one(rows, now)
        partition, born = (pl.col(name) for name in rows.columns)
        moment = pl.lit(now).cast(pl.Datetime("us", "UTC"))
        micros = (moment - born).dt.total_microseconds().clip(1)
        bucket = (micros.log(2) * _PER_OCTAVE).ceil().cast(pl.Int32).alias("bucket")
        counts = rows.select(partition, bucket).drop_nulls().group_by(pl.all()).len()
        found: dict[int, Histogram] = {}
        for number, one, count in counts.iter_rows():
            found.setdefault(number, cls()).buckets[one] = count
        return found

    @classmethod
    def _one_by_one(cls, rows: pl.DataFrame, now: datetime) -> dict[int, Histogram]:
        partitions, born = (rows.to_series(column).to_physical().to_list() for column in (0, 1))
        moment = (now - _EPOCH) // timedelta(microseconds=1)
        found: dict[int, Histogram] = {}
        for (partition, at), count in Counter(zip(partitions, born, strict=True)).items():
            if at is not None:
                bucket = math.ceil(math.log(max(moment - at, 1), 2) * _PER_OCTAVE)
                found.setdefault(partition, cls()).buckets[bucket] += count
        return found

    @classmethod
    def of(cls, seconds: float) -> Histogram:
        """Count one duration."""
        return cls({math.ceil(math.log2(max(seconds * 1e6, 1.0)) * _PER_OCTAVE): 1})

    @classmethod
    def from_json(cls, buckets: Mapping[str, int]) -> Histogram:
        """Read what `to_json` gave."""
        return cls({int(bucket): count for bucket, count in buckets.items()})

    def to_json(self) -> dict[str, int]:
        """Give the counts as JSON can hold them."""
        return {str(bucket): count for bucket, count in sorted(self.buckets.items())}

    @property
    def total(self) -> int:
        """How many were counted."""
        return self.buckets.total()

    def merge(self, other: Histogram) -> None:
        """Add another's counts."""
        self.buckets.update(other.buckets)

    def percentile(self, share: float) -> float | None:
        """Seconds within which `share` (0 to 1) of them were; None when there are none."""
        left = max(1, math.ceil(self.total * share))
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return float(2 ** (bucket / _PER_OCTAVE) / 1e6)
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.buckets == other.buckets

    def __hash__(self) -> int:
        return hash(frozenset(self.buckets.items()))

    def __repr__(self) -> str:
        return f"Histogram({dict(sorted(self.buckets.items()))})"
