"""A segment's work as home sees it, without logs and sinks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from penstock.home import batches, leases, ledger, letters
from penstock.home.batches import OpenBatch
from penstock.home.database import Cursor
from penstock.home.leases import Claimant
from penstock.plan.model import BATCH_SCHEMA, REPLAY
from penstock.records import Cause, Counts, LaneKey, Letter, Position, Progress, Span

BORN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ME = Claimant("users", "clicks", "me", host="here", pid=1)
BROKEN = Cause("map", "raised KeyError", "", "42", "Traceback: …")


def records(offsets: Iterable[int], partition: int = 0) -> pl.DataFrame:
    rows = [
        (partition, offset, b"k", b"\x00\xff\n%d" % offset, None, BORN, 1000 + offset)
        for offset in offsets
    ]
    return pl.DataFrame(rows, schema=BATCH_SCHEMA, orient="row")


def letter(offset: int, *lanes: str, index: int = 0, cause: Cause = BROKEN) -> Letter:
    return Letter(Position(0, offset, index), lanes, cause)


@dataclass
class Work:
    """One process's work on one log; keeps the totals that sinks would keep."""

    log_id: str = "log-1"
    claimant: Claimant = ME
    epochs: Mapping[int, int] = field(default_factory=dict)
    totals: dict[tuple[str, str, int], Counts] = field(default_factory=dict)

    def take(self, cursor: Cursor) -> None:
        self.epochs = leases.take_over(cursor, self.claimant, [0, 1, REPLAY], 60)

    def open(self, cursor: Cursor, spans: Mapping[int, Span], *lanes: str) -> OpenBatch:
        log_id = f"replay:{self.log_id}" if REPLAY in spans else self.log_id
        epochs = {partition: self.epochs[partition] for partition in spans}
        asked = OpenBatch("users", "clicks", log_id, lanes, spans, epochs, "plan")
        return batches.open_batch(cursor, asked)

    def commit(self, batch: OpenBatch, lane: str, dead: Mapping[int, int]) -> list[ledger.Closing]:
        """What a sink would say after its commit."""
        closings = []
        for partition, span in batch.spans.items():
            lost = dead.get(partition, 0)
            done = Counts(records=len(span), written=len(span) - lost, dead=lost)
            where = batch.log_id, lane, partition
            self.totals[where] = self.totals.get(where, Counts()) + done
            progress = Progress(span.end, batch.epochs[partition], self.totals[where])
            key = LaneKey("users", batch.log_id, "clicks", lane)
            closings.append(ledger.Closing(key, partition, progress))
        return closings

    def run(
        self,
        cursor: Cursor,
        batch: OpenBatch,
        found: list[Letter],
        frame: pl.DataFrame,
    ) -> None:
        """Record, commit and close an open batch for all its lanes."""
        letters.record(cursor, batch, batch.lanes, found, frame)
        for lane in batch.lanes:
            mine = [letter for letter in found if lane in letter.lanes]
            dead = {
                partition: sum(
                    REPLAY in batch.spans or letter.position.partition == partition
                    for letter in mine
                )
                for partition in batch.spans
            }
            ledger.close(cursor, self.commit(batch, lane, dead))
        batches.finish(cursor, batch, batch.lanes)
