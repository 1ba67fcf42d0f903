"""Brings micro-batches into the sinks of one segment, exactly once (design points 8 to 10).

Home records the batch and its dead letters, every sink stages its rows, every sink commits them
with its progress, the ledger closes. What died in between runs again with the same bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from penstock import faults
from penstock.engines import worker
from penstock.engines.books import Books, Moved
from penstock.engines.lanes import LanesDown, LaneWriter, gather, lone
from penstock.engines.part import Part, PlanAgain
from penstock.engines.supply import Planned
from penstock.errors import PenstockError, Refused, Rejected, Unavailable
from penstock.records import Letter

if TYPE_CHECKING:
    from penstock.engines.feed import Feed
    from penstock.home.batches import OpenBatch
    from penstock.interfaces import Sink
    from penstock.plan import MicroBatch, Outcome

Planner = Callable[["MicroBatch", "OpenBatch", Mapping[str, worker.Starts]], "Outcome"]
"""Runs the plan over a batch for lanes that stand at these starts."""


class Coordinator:
    """Commits micro-batches for lanes that stand together.

    Args:
        books: Home's books of the segment, for this thread.
        writers: The lanes, claimed.
        fingerprint: Of the plan that makes the rows.
        moved: Told after each commit has been entered.
        visible: Called when all lanes have committed, before that is entered.
    """

    def __init__(
        self,
        books: Books,
        writers: Sequence[LaneWriter],
        fingerprint: str,
        moved: Callable[[Sequence[Moved]], None] = lambda moved: None,
        visible: Callable[[], None] = lambda: None,
    ) -> None:
        self._books = books
        self._writers = {writer.name: writer for writer in writers}
        self._fingerprint = fingerprint
        self._moved = moved
        self._visible = visible

    def recover(self, feed: Feed, plan: Planner) -> None:
        """Bring the ledger up to what the stores hold, then run what was left open again.

        Called once all lanes are claimed and before any new batch is read.
        """
        self._books.enter(self._standing(), self._holds_rows)
        for found in self._books.pending():
            lanes = [name for name in found.lanes if name in self._writers]
            owing = {n: self._writers[n].starts for n in lanes if self._owes(n, found)}
            if owing:
                batch = self._books.adopt(found)
                micro = feed.reread(batch.spans)
                self.write(Planned.here(batch, micro, plan(micro, batch, owing)))
            self._books.close(found, (), lanes)

    def _holds_rows(self, lane: str) -> bool:
        return self._writers[lane].submit(_any_rows).result()

    def _standing(self) -> list[Moved]:
        return [
            Moved(writer.name, partition, progress)
            for writer in self._writers.values()
            for partition, progress in writer.progress.items()
        ]

    def _owes(self, lane: str, batch: OpenBatch) -> bool:
        """Whether a lane lacks a batch; one whose store was set back reads its way there anew."""
        if not faults.enabled("trimming"):
            return True
        starts = self._writers[lane].starts
        reached = all(starts[p] >= span.start for p, span in batch.spans.items())
        return reached and any(starts[p] < span.end for p, span in batch.spans.items())

    def run_again(self, batch: OpenBatch, lanes: Sequence[str], feed: Feed, plan: Planner) -> None:
        """Read and plan a batch again, here, for lanes that did not take it as `write` said.

        Raises as `write` does.
        """
        self._books.enter(self._standing(), self._holds_rows)  # a part may have been committed
        again = replace(batch, lanes=tuple(lanes), attempts=batch.attempts + 1)
        micro = feed.reread(batch.spans)
        starts = {name: self._writers[name].starts for name in lanes}
        self.write(Planned.here(again, micro, plan(micro, again, starts)))

    def write(self, planned: Planned) -> list[str]:
        """Stage, commit and close one batch.

        Returns:
            Lanes for which the batch stays open, to be planned again in this process.

        Raises:
            LanesDown: These lanes' stores are away or refuse; the batch is closed for the others.
            Fenced: A successor owns a partition.
            Unavailable: Home is away; `claim` and `recover` tell what was done.
        """
        batch, micro, outcome = planned.batch, planned.micro, planned.outcome
        parts = {
            name: Part(
                self._writers[name], micro, lane, plan=self._fingerprint, tails=planned.tails
            )
            for name, lane in outcome.lanes.items()
        }
        down: dict[str, PenstockError] = {}
        staged = self._stage(parts, down)
        faults.point("staged")
        self._record(batch, micro, outcome.letters, staged)
        moved = self._commit(batch, micro, outcome.letters, staged, down)
        faults.point("committed")
        self._visible()
        moved = _timed(parts, moved)
        self._books.close(batch, moved, [name for name in batch.lanes if name not in down])
        faults.point("closed")
        self._moved(moved)
        away = {name: e for name, e in down.items() if isinstance(e, Unavailable | Refused)}
        if away:
            raise LanesDown(away)
        return list(down)

    def _stage(self, parts: dict[str, Part], down: dict[str, PenstockError]) -> dict[str, Part]:
        futures = {name: part.writer.submit(part.stage) for name, part in parts.items()}
        _, errors = gather(futures)
        self._away(errors, down)
        return {name: part for name, part in parts.items() if name not in down}

    def _record(
        self,
        batch: OpenBatch,
        micro: MicroBatch,
        planned: Sequence[Letter],
        parts: Mapping[str, Part],
    ) -> None:
        """Record all letters of these parts; a batch that runs again may have some to forget."""
        rejected = [letter for part in parts.values() for letter in part.letters]
        mine = [letter for letter in planned if not parts.keys().isdisjoint(letter.lanes)]
        if rejected or mine or batch.attempts > 1:
            self._books.record(batch, list(parts), [*mine, *rejected], micro.records)

    def _commit(
        self,
        batch: OpenBatch,
        micro: MicroBatch,
        planned: Sequence[Letter],
        parts: Mapping[str, Part],
        down: dict[str, PenstockError],
    ) -> list[Moved]:
        """Commit every part; what a store rejects at its commit goes round without those rows."""
        moved: list[Moved] = []
        while parts:
            errors: dict[str, PenstockError] = {}
            moved += self._commit_all(parts, errors)
            moved += self._commit_again(parts, errors)
            rejected = {n: parts[n] for n, e in errors.items() if isinstance(e, Rejected)}
            self._away({n: e for n, e in errors.items() if n not in rejected}, down)
            parts = self._restage(rejected, down)
            self._record(batch, micro, planned, parts)
        return moved

    def _commit_all(
        self, parts: Mapping[str, Part], errors: dict[str, PenstockError]
    ) -> list[Moved]:
        faults.point("committing")
        futures = {name: part.writer.submit(part.commit) for name, part in parts.items()}
        for left, _ in enumerate(as_completed(futures.values()), 1 - len(futures)):
            if left < 0:
                faults.point("between-sinks")
        results, failed = gather(futures)
        errors.update(failed)
        return [step for steps in results.values() for step in steps]

    def _commit_again(
        self, parts: Mapping[str, Part], errors: dict[str, PenstockError]
    ) -> list[Moved]:
        """Try once more where a connection was lost; a store that is away stays an error."""
        lost = [name for name, error in errors.items() if isinstance(error, Unavailable)]
        moved: list[Moved] = []
        for name in lost:
            try:
                parts[name].writer.claim_again()
                moved += parts[name].writer.submit(parts[name].commit_again).result()
                del errors[name]
            except PenstockError as error:
                errors[name] = error
        return moved

    def _restage(self, parts: dict[str, Part], down: dict[str, PenstockError]) -> dict[str, Part]:
        futures = {name: part.writer.submit(part.restage) for name, part in parts.items()}
        _, errors = gather(futures)
        self._away(errors, down)
        return {name: part for name, part in parts.items() if name not in down}

    @staticmethod
    def _away(errors: Mapping[str, PenstockError], down: dict[str, PenstockError]) -> None:
        again = {n: e for n, e in errors.items() if isinstance(e, PlanAgain)}
        down.update(lone({n: e for n, e in errors.items() if n not in again}))
        down.update(again)


def _any_rows(sink: Sink) -> bool:
    return any(frame.height for frame in sink.positions())


def _timed(parts: Mapping[str, Part], moved: Sequence[Moved]) -> list[Moved]:
    """Reckon latencies only now, so that the next batch does not wait for it."""
    lanes = groupby(moved, key=lambda step: step.lane)
    return [step for lane, steps in lanes for step in parts[lane].timed(list(steps))]
