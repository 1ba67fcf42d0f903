"""One slice of a micro-batch: trim, run the plan, stage the rows. No home and no threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from penstock import faults
from penstock.interfaces import Sink
from penstock.plan import LaneOutcome, MicroBatch, Outcome, Plan
from penstock.records import Letter, Receipt

Starts = Mapping[int, int]
"""For each partition the next offset that a lane has not taken."""


def run(plan: Plan, batch: MicroBatch, starts: Mapping[str, Starts]) -> Outcome:
    """Run the plan for every lane from where it stands; lanes that stand together share a run.

    Args:
        plan: The segment's plan.
        batch: Records, from the least of the lanes' starts on.
        starts: For each lane that takes part where it stands.
    """
    lanes: dict[str, LaneOutcome] = {}
    letters: list[Letter] = []
    for here, names in _together(batch, starts):
        outcome = plan.run(batch.trim(here), names)
        lanes.update(outcome.lanes)
        letters.extend(outcome.letters)
    return Outcome(lanes, letters)


def _together(
    batch: MicroBatch, starts: Mapping[str, Starts]
) -> Iterator[tuple[Starts, Sequence[str]]]:
    groups: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for lane, positions in starts.items():
        groups.setdefault(_within(batch, positions), []).append(lane)
    for here, names in groups.items():
        yield dict(here), names


def _within(batch: MicroBatch, positions: Starts) -> tuple[tuple[int, int], ...]:
    """Where a lane starts in the batch: behind what it has, never outside the batch."""
    if not faults.enabled("trimming"):
        return tuple((p, span.start) for p, span in sorted(batch.spans.items()))
    return tuple(
        (p, min(max(positions.get(p, span.start), span.start), span.end))
        for p, span in sorted(batch.spans.items())
    )


def stage(sink: Sink, rows: pl.DataFrame) -> Sequence[Receipt]:
    """Bring a lane's rows to its store, invisible; nothing to stage gives no receipt."""
    faults.point("staging")
    return [sink.stage(rows)] if rows.height else []
