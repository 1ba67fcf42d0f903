"""A segment's log and its replay log, read as micro-batches with order stamps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from penstock.engines.rereading import whole
from penstock.interfaces import Log
from penstock.plan import REPLAY, MicroBatch
from penstock.records import Limits, LogBatch, Span

if TYPE_CHECKING:
    from penstock.home.replays import ReplayLog
    from penstock.serdes.codec import Codec

_LOOK = 1.0
"""Seconds between two looks into the replay log, and at the log's ends."""


class Feed:
    """What one group of lanes reads. One object serves one thread.

    Args:
        log: The segment's log.
        replays: The segment's replay log.
        bases: Order bases of the log's partitions.
        codec: Of the log: it learns here what the plan needs to decode what was read.
    """

    def __init__(
        self, log: Log, replays: ReplayLog, bases: Mapping[int, int], codec: Codec
    ) -> None:
        self._log = log
        self._codec = codec
        self._replays = replays
        self.bases = dict(bases)
        self._looked = 0.0
        self.ends: Mapping[int, int] = {}
        """Ends of the log and the replay log, as of the last look."""

    def read(self, starts: Mapping[int, int], limits: Limits) -> MicroBatch | None:
        """Read what there is from `starts`; None at the end. A replay comes as a batch alone."""
        if time.monotonic() - self._looked > _LOOK:
            self.look()
            if (replay := self.replay(starts, limits)) is not None:
                return replay
        own = {p: start for p, start in starts.items() if p != REPLAY}
        found = self._log.read(own, limits) if own else None
        if found is None or not any(len(span) for span in found.spans.values()):
            return None
        return self._stamped(found)

    def replay(self, starts: Mapping[int, int], limits: Limits) -> MicroBatch | None:
        """Read dead letters that were sent back, as of the last look; None when there are none."""
        if REPLAY not in starts or self.ends.get(REPLAY, 0) <= starts[REPLAY]:
            return None
        return self._replayed(self._replays.read(starts[REPLAY], limits))

    def oldest(self) -> dict[int, int]:
        """The oldest offsets that the log keeps."""
        return {partition: span.start for partition, span in self._log.spans().items()}

    @property
    def grown(self) -> bool:
        """Whether the log has got partitions since it was opened."""
        return len(self.ends) - (REPLAY in self.ends) > len(self.bases)

    def mark(self, lane: str, starts: Mapping[int, int]) -> None:
        """Tell the log where a lane stands; called often, passed on now and then."""
        self._log.mark(lane, {p: start for p, start in starts.items() if p != REPLAY})

    def look(self) -> None:
        """Learn where the logs end now."""
        ends = {partition: span.end for partition, span in self._log.spans().items()}
        self.ends = {**ends, REPLAY: self._replays.end()}
        self._looked = time.monotonic()

    def reread(self, spans: Mapping[int, Span]) -> MicroBatch:
        """Read exactly these spans."""
        if REPLAY in spans:
            return self._replayed(self._replays.reread(spans[REPLAY]))
        return self._stamped(self._log.reread(spans))

    def wait(self, starts: Mapping[int, int], timeout: float) -> None:
        """Wait for a record at or past `starts`."""
        own = {p: start for p, start in starts.items() if p != REPLAY}
        if own:
            self._log.wait(own, timeout)
        else:
            time.sleep(timeout)

    def wake(self) -> None:
        """End a `wait` now; from any thread."""
        self._log.wake()

    def close(self) -> None:
        """Release connections."""
        self._log.close()

    @staticmethod
    def full(batch: MicroBatch, limits: Limits) -> bool:
        """Whether more is likely to wait behind this batch."""
        many = batch.records.height * 2 >= limits.records
        return many or batch.records.estimated_size() * 2 >= limits.bytes

    def _stamped(self, found: LogBatch) -> MicroBatch:
        spans = {p: span for p, span in found.spans.items() if len(span)}
        partitions = found.records["partition"]
        bases = pl.Series([self.bases[p] for p in range(len(self.bases))], dtype=pl.Int64)
        order = (bases.gather(partitions) + found.records["offset"]).alias("order")
        return self._prepared(MicroBatch(spans, found.records.hstack([order])))

    def _replayed(self, batch: MicroBatch) -> MicroBatch:
        return self._prepared(whole(self._log, batch))

    def _prepared(self, batch: MicroBatch) -> MicroBatch:
        self._codec.prepare(batch.records)
        return batch
