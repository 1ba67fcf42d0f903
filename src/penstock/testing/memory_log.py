"""A log in memory, for tests: as strict as a real one."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from datetime import datetime

import polars as pl

from penstock.errors import LogChanged, Refused
from penstock.logs.columns import RECORDS
from penstock.records import Limits, LogBatch, Span
from penstock.serdes.partitioner import partition_of
from penstock.testing.clock import START


class MemoryLog:
    """A partitioned log that implements `interfaces.Log`. Any thread may use it.

    Args:
        name: What messages call it.
        partitions: How many it has.
    """

    def __init__(self, name: str = "memory", partitions: int = 1) -> None:
        self.name = name
        self._changed = threading.Condition()
        self._woken = False
        self._partitions = partitions
        self.recreate()

    def recreate(self) -> None:
        """Empty the log and give it a new identity."""
        with self._changed:
            self._id = str(uuid.uuid4())
            self._records = {p: pl.DataFrame(schema=RECORDS) for p in range(self._partitions)}
            self._starts = dict.fromkeys(range(self._partitions), 0)

    def append(self, records: pl.DataFrame, *, born: datetime = START) -> dict[int, int]:
        """Append records, those of a partition in their order.

        Args:
            records: `value`, and any of `key`, `headers`, `born` and `partition` (by default
                that of the key; 0 without a key).
            born: When records without `born` were first seen.

        Returns:
            For each partition the offset of its first record.

        Raises:
            Refused: There is no such partition.
        """
        completed = self._completed(records, born)
        with self._changed:
            ends = self._ends()
            strange = set(completed["partition"]) - ends.keys()
            if strange:
                raise Refused(f"log {self.name!r} has no partition {min(strange)}")
            parts = completed.partition_by("partition", as_dict=True)
            for (partition,), part in parts.items():
                end = ends[partition]
                offsets = pl.int_range(end, end + part.height, eager=True).alias("offset")
                placed = part.with_columns(offsets).select(list(RECORDS)).cast(RECORDS)
                self._records[partition] = pl.concat([self._records[partition], placed])
            self._changed.notify_all()
        return {partition: ends[partition] for (partition,) in parts}

    def drop(self, partition: int, before: int) -> None:
        """Drop the records before an offset, as retention does."""
        with self._changed:
            kept = self._records[partition].filter(pl.col("offset") >= before)
            self._records[partition] = kept
            self._starts[partition] = before

    def identity(self) -> str:
        return self._id

    def spans(self) -> Mapping[int, Span]:
        with self._changed:
            return {p: Span(self._starts[p], end) for p, end in self._ends().items()}

    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        spans: dict[int, Span] = {}
        records, size = limits.records, limits.bytes
        for partition, start in sorted(starts.items()):
            part = self._after(partition, start).head(max(records, 0 if spans else 1))
            sizes = _sizes(part).cum_sum()
            fitting = int((sizes <= size).sum())
            taken = part.head(fitting or (0 if spans else 1))
            if taken.height:
                spans[partition] = Span(start, start + taken.height)
                records -= taken.height
                size -= int(_sizes(taken).sum())
        return self.reread(spans)

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        parts = [pl.DataFrame(schema=RECORDS)]
        for partition, span in sorted(spans.items()):
            part = self._after(partition, span.start)
            if part.height < len(span):
                raise LogChanged(f"log {self.name!r} lacks offsets of {span}")
            parts.append(part.head(len(span)))
        return LogBatch(dict(spans), pl.concat(parts))

    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        def grown() -> bool:
            ends = self._ends()
            return any(ends.get(p, 0) > start for p, start in starts.items())

        with self._changed:
            self._changed.wait_for(lambda: self._woken or grown(), timeout)
            self._woken = False
            return grown()

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def mark(self, lane: str, nexts: Mapping[int, int]) -> None:
        """Do nothing: nobody else looks into this log."""

    def close(self) -> None:
        self.wake()

    def _completed(self, records: pl.DataFrame, born: datetime) -> pl.DataFrame:
        defaults = {"key": None, "headers": None, "born": born}
        missing = [
            pl.lit(value, RECORDS[name]).alias(name)
            for name, value in defaults.items()
            if name not in records.columns
        ]
        completed = records.with_columns(missing)
        if "partition" in records.columns:
            return completed
        keyed = partition_of(completed["key"].fill_null(b""), self._partitions)
        partition = pl.when(pl.col("key").is_null()).then(0).otherwise(keyed)
        return completed.with_columns(partition=partition.cast(pl.Int32))

    def _after(self, partition: int, start: int) -> pl.DataFrame:
        with self._changed:
            ends = self._ends()
            if partition not in ends or not self._starts[partition] <= start <= ends[partition]:
                raise LogChanged(
                    f"log {self.name!r} has no offset {start} in partition {partition}; it has "
                    f"{Span(self._starts.get(partition, 0), ends.get(partition, 0))}"
                )
            return self._records[partition].filter(pl.col("offset") >= start)

    def _ends(self) -> dict[int, int]:
        return {
            p: int(part["offset"][-1]) + 1 if part.height else self._starts[p]
            for p, part in self._records.items()
        }


def _sizes(part: pl.DataFrame) -> pl.Series:
    key, value = (part[name].bin.size().fill_null(0) for name in ("key", "value"))
    return key.cast(pl.Int64) + value.cast(pl.Int64)
