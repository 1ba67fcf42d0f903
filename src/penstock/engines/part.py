"""One lane's share of a micro-batch: its rows, its letters, its steps of progress."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import polars as pl

from penstock import faults
from penstock.engines import worker
from penstock.engines.books import Moved
from penstock.engines.lanes import LaneWriter
from penstock.errors import PenstockError, Refused, Rejected, Unavailable
from penstock.home.latency import Histogram
from penstock.interfaces import Sink
from penstock.plan import REPLAY
from penstock.records import Cause, Counts, Letter, Position, Progress, Receipt, Span, Step

if TYPE_CHECKING:
    from penstock.plan import LaneOutcome, MicroBatch

Tail = tuple[Position, str]
"""A partition's last record and its fingerprint."""


class PlanAgain(PenstockError):
    """What other machines staged cannot be committed: plan the batch again, in this process."""


class Part:
    """What one lane does with a micro-batch. Its methods with a sink run on the lane's thread.

    Args:
        writer: The lane.
        batch: The micro-batch.
        outcome: The lane's rows and counts.
        plan: Fingerprint of the plan.
        tails: For each partition its last record.
    """

    def __init__(
        self,
        writer: LaneWriter,
        batch: MicroBatch,
        outcome: LaneOutcome,
        *,
        plan: str,
        tails: Mapping[int, Tail],
    ) -> None:
        self.writer = writer
        self.letters: list[Letter] = []
        self._batch = batch
        self._rows = outcome.rows
        self._apart = list(outcome.receipts)
        self._born = outcome.born
        self._counts = dict(outcome.counts)
        self._plan = plan
        self._tails = tails
        self._receipts: list[Receipt] = []
        self._staging = 0.0
        self._visible_at: datetime | None = None

    def stage(self, sink: Sink) -> None:
        """Stage the rows; those that the store rejects become letters."""
        began = time.monotonic()
        try:
            self._stage(sink)
        except Rejected:
            self.restage(sink)
        self._staging = time.monotonic() - began

    def restage(self, sink: Sink) -> None:
        """Begin again without the rows that the store rejects."""
        sink.rollback()
        if self._apart:
            raise PlanAgain(f"{self.writer.name}: the store rejects a row that an executor staged")
        rejected = sink.isolate(self._rows)
        if not rejected:
            raise Refused(
                f"{self.writer.name}: the store rejects the rows of a micro-batch together and "
                "takes each alone; look at deferred constraints and triggers of its table"
            )
        self._bury(dict(rejected))
        self._stage(sink)

    def _stage(self, sink: Sink) -> None:
        receipts = worker.stage(sink, self._rows)
        self._receipts = [*self._apart, *receipts]
        staged = sum(receipt.total for receipt in receipts)
        if staged != self._rows.height and faults.enabled("staged-count"):
            sink.rollback()
            raise Unavailable(
                f"{self.writer.name} staged {staged} of {self._rows.height} rows; trying again"
            )

    def _bury(self, rejected: Mapping[int, Rejected]) -> None:
        for number, error in rejected.items():
            row = self._rows.row(number, named=True)
            position = Position(row["_partition"], row["_offset"], row["_index"])
            rule = f"the store rejects the row ({error.code})" if error.code else "rejected"
            words = str(error)
            cause = Cause("store", rule, value=words[:200], detail=words)
            self.letters.append(Letter(position, (self.writer.name,), cause))
            counted = REPLAY if REPLAY in self._batch.spans else position.partition
            self._counts[counted] += Counts(dead=1)
        keep = pl.Series(range(self._rows.height)).is_in(list(rejected)).not_()
        self._rows = self._rows.filter(keep)

    def commit(self, sink: Sink) -> list[Moved]:
        """Commit what is staged with the progress after it."""
        steps = self._steps()
        began = time.monotonic()
        stored = self._commit(sink, steps)
        self._visible_at = datetime.now(UTC)
        self.writer.took(self._staging + time.monotonic() - began)
        self.writer.progress.update(stored)
        return [
            Moved(
                self.writer.name,
                partition,
                progress,
                counts=progress.totals - steps[partition].before.totals,
            )
            for partition, progress in stored.items()
        ]

    def _commit(self, sink: Sink, steps: Mapping[int, Step]) -> Mapping[int, Progress]:
        try:
            return sink.commit(self._receipts, steps)
        except Refused as error:
            if self._apart:
                raise self._again(sink, error) from error
            raise

    @staticmethod
    def _again(sink: Sink, error: PenstockError) -> PlanAgain:
        sink.rollback()
        return PlanAgain(str(error))

    def commit_again(self, sink: Sink) -> list[Moved]:
        """Commit after the connection was lost: did the commit arrive, is anything still staged?

        The progress, claimed again, tells the first; the sink's count of what is staged the
        second.
        """
        steps = self._steps()
        arrived = [
            Moved(self.writer.name, partition, self.writer.progress[partition])
            for partition in self._batch.spans
            if partition not in steps
        ]
        if not steps:
            return arrived
        if self._apart:
            return self._commit_apart_again(sink)
        if arrived:  # the store commits each partition on its own
            self._rows = self._rows.filter(pl.col("_partition").is_in(list(steps)))
            return arrived + self._stage_and_commit(sink)
        try:
            return self.commit(sink)
        except Refused:
            return self._stage_and_commit(sink)

    def _commit_apart_again(self, sink: Sink) -> list[Moved]:
        """Once more; but a store that crashed has lost what was staged, and a part may be there."""
        try:
            return self.commit(sink)
        except Unavailable as error:
            raise self._again(sink, error) from error

    def _stage_and_commit(self, sink: Sink) -> list[Moved]:
        sink.rollback()
        self.stage(sink)
        return self.commit(sink)

    def _steps(self) -> dict[int, Step]:
        return {
            partition: self._step(partition, span)
            for partition, span in self._batch.spans.items()
            if self.writer.progress[partition].next < span.end or not faults.enabled("trimming")
        }

    def _step(self, partition: int, span: Span) -> Step:
        before = self.writer.progress[partition]
        start = self.writer.starts[partition]
        if start < span.start:
            raise Refused(
                f"{self.writer.name} stands at offset {start} of partition {partition}, the "
                f"micro-batch begins at {span.start}: what lies between would be lost"
            )
        planned = self._counts[partition].records + self._counts[partition].absent
        if planned != span.end - start and faults.enabled("trimming"):
            raise Refused(
                f"{self.writer.name} lacks the offsets from {start} to {span.end} of partition "
                f"{partition}, but {planned} were planned: rows would be lost or doubled. "
                "Nothing was written; start again"
            )
        # What retention took before a new lane began is absent for it.
        never = Counts(absent=max(0, start - before.next))
        last, tail = self._tails.get(partition, (before.last, before.tail))
        totals = before.totals + self._counts[partition] + never
        after = replace(before, next=span.end, totals=totals, last=last, plan=self._plan, tail=tail)
        return Step(before, after)

    def timed(self, moved: Sequence[Moved]) -> list[Moved]:
        """Add how long this lane's rows took from born to visible."""
        if self._visible_at is None or self._batch.replay:
            return list(moved)
        rows = pl.DataFrame([self._rows["_partition"], self._rows["_born"]])
        if self._apart:
            rows = pl.concat([rows, self._born])
        latency = Histogram.since_by(rows, self._visible_at)
        return [replace(one, latency=latency.get(one.partition, Histogram())) for one in moved]


def tails(batch: MicroBatch) -> dict[int, Tail]:
    """Fingerprint the last record of each partition, to recognise the log by it later."""
    if REPLAY in batch.spans:
        return {}
    last = batch.records["partition"].is_last_distinct().arg_true()
    found = [batch.records.row(number, named=True) for number in last.to_list()]
    return {
        row["partition"]: (Position(row["partition"], row["offset"]), fingerprint(row))
        for row in found
    }


def fingerprint(record: Mapping[str, object]) -> str:
    """Name a log record by its content."""
    parts = (record["offset"], record["key"], record["value"], record["born"])
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()
