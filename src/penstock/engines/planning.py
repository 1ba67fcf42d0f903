"""Runs a segment's plan for the engine: watches that maps are row-wise, isolates what kills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from penstock.engines import worker
from penstock.engines.trial import Trials
from penstock.plan import REPLAY, LaneOutcome, MicroBatch, Outcome
from penstock.records import WHOLE, Cause, Counts, Letter, Position

if TYPE_CHECKING:
    from penstock.home.batches import OpenBatch
    from penstock.plan import Segment

WATCHED = 3
"""So many micro-batches at the start of a run are tried in parts and in another order, too."""

SAMPLE = 1_000
"""Records of a micro-batch that are tried so."""

DEADLY = 3
"""After so many beginnings a batch is suspected of killing the process."""

CHANGED = Cause("map", "changed for a crash test")
"""Why rows are dead in a variant of the program."""

_KILLED = Cause("map", "the process died of the record", detail="found by a child process")


class Planning:
    """The plan of one segment. Threads of several groups may use it.

    Args:
        segment: Whose plan.
        program: The program's file; None when there is none that a child process could load.
        variant: Above 0: some rows of table lanes die, others in each variant, as if a map had
            been changed.
    """

    def __init__(self, segment: Segment, program: Path | None = None, variant: int = 0) -> None:
        self._segment = segment
        self._plan = segment.plan
        self._program = program
        self._watched = 0
        self._variant = variant
        self.fingerprint = segment.plan.fingerprint + (f"~{variant}" if variant else "")

    def __call__(
        self, micro: MicroBatch, batch: OpenBatch, starts: Mapping[str, worker.Starts]
    ) -> Outcome:
        """Run the plan over a batch for lanes that stand at `starts`.

        Raises:
            PlanFailed: The code is at fault: it fails whole, or is not row-wise.
        """
        if batch.attempts > DEADLY and self._program is not None:
            return self._without_killers(micro, self._program, starts)
        return self.run(micro, starts)

    def run(self, micro: MicroBatch, starts: Mapping[str, worker.Starts]) -> Outcome:
        """Run the plan over records that are not suspected to kill; raises as a call does."""
        if self._watched < WATCHED and not micro.replay:
            self._watched += 1
            self._plan.rowwise(MicroBatch(micro.spans, micro.records.head(SAMPLE)))
        outcome = worker.run(self._plan, micro, starts)
        return self._varied(outcome, micro.replay) if self._variant else outcome

    def _varied(self, outcome: Outcome, replay: bool) -> Outcome:
        """Bury some rows of each table lane, chosen by their positions."""
        lanes, letters = dict(outcome.lanes), list(outcome.letters)
        for name, lane in outcome.lanes.items():
            if self._segment.lane(name).mode == "topic":
                continue
            chosen = (pl.col("_offset") + pl.col("_index")) % 5 == self._variant
            rows = lane.rows.filter(~chosen)
            counts = dict(lane.counts)
            places = lane.rows.filter(chosen).select("_partition", "_offset", "_index")
            for position in places.iter_rows():
                letters.append(Letter(Position(*position), (name,), CHANGED))
                counts[REPLAY if replay else position[0]] += Counts(dead=1)
            lanes[name] = LaneOutcome(rows, counts)
        return Outcome(lanes, letters)

    def _without_killers(
        self, micro: MicroBatch, program: Path, starts: Mapping[str, worker.Starts]
    ) -> Outcome:
        """Bury the records that kill a child process; run the plan over the others."""
        rows = Trials(program, self._segment, micro).guilty()
        killers = micro.records[rows]
        kept = micro.records.with_row_index("_row").filter(~pl.col("_row").is_in(rows))
        rest = MicroBatch(micro.spans, kept.drop("_row"))
        outcome = worker.run(self._plan, rest, starts)
        if not rows:
            return outcome
        buried = [_bury(killers, micro.replay, name, at) for name, at in starts.items()]
        lanes = {
            name: _counting(lane, letters, micro.replay)
            for (name, lane), letters in zip(
                ((name, outcome.lanes[name]) for name in starts), buried, strict=True
            )
        }
        return Outcome(lanes, [*outcome.letters, *(x for letters in buried for x in letters)])


def _bury(
    killers: pl.DataFrame, replay: bool, lane: str, starts: worker.Starts
) -> Sequence[Letter]:
    letters = []
    for row in killers.iter_rows(named=True):
        where, at = (REPLAY, row["at"]) if replay else (row["partition"], row["offset"])
        if at >= starts.get(where, 0) and (not replay or lane in row["lanes"]):
            index = row["index"] if replay else WHOLE
            position = Position(row["partition"], row["offset"], index)
            letters.append(Letter(position, (lane,), _KILLED))
    return letters


def _counting(lane: LaneOutcome, letters: Sequence[Letter], replay: bool) -> LaneOutcome:
    """Count buried records as records and dead: without them they looked absent."""
    counts = dict(lane.counts)
    for letter in letters:
        partition = REPLAY if replay else letter.position.partition
        counts[partition] += Counts(records=1, absent=-1, dead=1)
    return replace(lane, counts=counts)
