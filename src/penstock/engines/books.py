"""What home keeps of one segment's micro-batches: the coordinator's side of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock import faults
from penstock.errors import Refused
from penstock.home import batches, ledger, letters
from penstock.home.batches import OpenBatch
from penstock.home.latency import Histogram
from penstock.plan import REPLAY
from penstock.records import Counts, LaneKey, Letter, Progress, Span

if TYPE_CHECKING:
    import polars as pl

    from penstock.home.database import Home
    from penstock.plan import Segment


@dataclass(frozen=True)
class Moved:
    """A lane's progress in one partition, as its store reported it after a commit.

    Args:
        lane: The lane.
        partition: The partition.
        progress: As stored.
        counts: What became of the records of this commit.
        latency: From born to visible, of the rows.
    """

    lane: str
    partition: int
    progress: Progress
    counts: Counts = field(default_factory=Counts)
    latency: Histogram = field(default_factory=Histogram)


class Books:
    """Opens, letters and closes the micro-batches of one segment; each call is one transaction.

    Every method raises `Unavailable` when home is away, and `Fenced` when a partition is lost.

    Args:
        home: A connection to home.
        pipeline: Whose.
        log_id: Identity of the segment's log.
        segment: Which.
        epochs: The partitions held.
    """

    def __init__(
        self, home: Home, pipeline: str, log_id: str, segment: Segment, epochs: Mapping[int, int]
    ) -> None:
        self._home = home
        self._pipeline = pipeline
        self._log_id = log_id
        self._segment = segment.name
        self._withhold = segment.plan.withhold
        self._epochs = epochs

    def key(self, lane: str, partition: int) -> LaneKey:
        """Under what home keeps a lane's ledger: a replay log has an identity of its own."""
        return LaneKey(self._pipeline, self._log(partition), self._segment, lane)

    def _log(self, partition: int) -> str:
        return f"replay:{self._log_id}" if partition == REPLAY else self._log_id

    def open(self, spans: Mapping[int, Span], lanes: Sequence[str], plan: str) -> OpenBatch:
        """Record a batch before any sink commits it."""
        batch = OpenBatch(
            pipeline=self._pipeline,
            segment=self._segment,
            log_id=self._log(min(spans)),
            lanes=tuple(lanes),
            spans=spans,
            epochs={partition: self._epochs[partition] for partition in spans},
            plan=plan,
        )
        if not faults.enabled("open-batch"):
            return batch
        with self._home.transaction() as cursor:
            return batches.open_batch(cursor, batch)

    def pending(self) -> list[OpenBatch]:
        """List the open batches of the partitions at hand, oldest first."""
        with self._home.transaction() as cursor:
            return batches.open_batches(cursor, self._pipeline, self._segment, self._epochs)

    def adopt(self, batch: OpenBatch) -> OpenBatch:
        """Make an open batch this process's own, before it runs again."""
        with self._home.transaction() as cursor:
            return batches.adopt(cursor, batch, self._epochs)

    def record(
        self,
        batch: OpenBatch,
        lanes: Collection[str],
        dead: Sequence[Letter],
        records: pl.DataFrame,
    ) -> None:
        """Keep dead letters; what was recorded of the batch for these lanes before is replaced.

        Of the records they are about, nothing is kept that the plan masks.

        Args:
            batch: The open batch.
            lanes: The lanes that are about to commit it.
            dead: Their letters.
            records: The batch's records that these are about.
        """
        kept = records if REPLAY in batch.spans else self._withhold(letters.about(records, dead))
        with self._home.transaction() as cursor:
            letters.record(cursor, batch, lanes, dead, kept)

    def enter(self, moved: Sequence[Moved], holds_rows: Callable[[str], bool]) -> None:
        """Make the ledger agree with what the stores hold, as claimed.

        Args:
            moved: Where the lanes stand.
            holds_rows: Whether there are any rows where a lane writes.

        Raises:
            Refused: A store has a lane's rows and no progress: written again, they were doubled.
        """
        with self._home.transaction() as cursor:
            for step in ledger.align(cursor, [self._closing(step) for step in moved]):
                if step.progress.next == 0 and holds_rows(step.key.lane):
                    raise Refused(
                        f"lane {step.key.lane!r} has written rows, but the progress in its store "
                        "(penstock.progress, in Kafka a topic) knows nothing of it any more. "
                        "Bring that back from a backup; or empty what the lane writes to, to write "
                        "the log's records once more"
                    )

    def close(self, batch: OpenBatch, moved: Sequence[Moved], lanes: Collection[str]) -> None:
        """Enter what moved, and close the batch for these lanes."""
        closings = [self._closing(step, batch) for step in moved]
        with self._home.transaction(durable=False) as cursor:
            ledger.close(cursor, closings)
            batches.finish(cursor, batch, lanes)

    def _closing(self, step: Moved, batch: OpenBatch | None = None) -> ledger.Closing:
        return ledger.Closing(
            self.key(step.lane, step.partition),
            step.partition,
            step.progress,
            {ledger.VISIBLE: step.latency} if step.latency.total else {},
            batch.opened_at if batch else None,
        )
