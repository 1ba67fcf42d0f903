"""Lanes that stand together: one reader, one run of the plan, one committer, side by side.

Reading and planning the next batch overlaps staging and committing this one. Small batches are not
queued up behind one another: at the log's end the reader waits until the one before is visible, so
that what came in the meantime goes in one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING

from penstock import faults
from penstock.engines.channel import Channel, ChannelClosed
from penstock.engines.coordinator import Coordinator
from penstock.engines.lanes import LaneWriter, least
from penstock.records import Limits

if TYPE_CHECKING:
    from penstock.engines.books import Books, Moved
    from penstock.engines.feed import Feed
    from penstock.engines.planning import Planning
    from penstock.home.batches import OpenBatch
    from penstock.plan import MicroBatch, Outcome

MOST_BYTES = 4 << 20
"""The most that one micro-batch reads: enough to be fast, little enough to hold several."""

_LARGE = 1_000
"""Bytes of a large record: a limit of few records is one of few bytes, too."""

DEEP = 2
"""Micro-batches under way at once while the lanes are behind."""

PAUSE = 0.5
"""Seconds after which an idle reader looks whether it shall end."""


MARK = 1.0
"""Seconds after which the log is told again how far the lanes have come."""


@dataclass(frozen=True)
class _Planned:
    batch: OpenBatch
    micro: MicroBatch
    outcome: Outcome


@dataclass(frozen=True)
class Desk:
    """What a group works with: connections of its own to the log and to home.

    Args:
        feed: The log.
        opening: Home's books for the planning thread.
        closing: Home's books for the committing thread.
    """

    feed: Feed
    opening: Books
    closing: Books


class Group:
    """Moves lanes along a log together. `last` is how many offsets its last batch had.

    Args:
        desk: Its connections.
        writers: The lanes, claimed.
        planning: Runs the plan.
        records: The most records in a micro-batch.
        moved: Told after each commit, on the committing thread.
    """

    def __init__(
        self,
        desk: Desk,
        writers: Sequence[LaneWriter],
        planning: Planning,
        records: int,
        moved: Callable[[Sequence[Moved]], None],
    ) -> None:
        self.last = 0
        self._desk = desk
        self._writers = writers
        self._planning = planning
        self._limits = Limits(records, min(MOST_BYTES, records * _LARGE))
        self._flow = _Flow()
        self._coordinator = Coordinator(
            desk.closing, writers, planning.fingerprint, moved, self._flow.finished
        )

    def recover(self) -> None:
        """Finish what was left open; before `run`."""
        self._coordinator.recover(self._desk.feed, self._planning)

    def run(self, proceed: Callable[[], bool]) -> None:
        """Move the lanes until `proceed` says no; what was read by then is committed.

        Args:
            proceed: Asked before each read, on the reading thread.

        Raises:
            LanesDown: Some lanes' stores are away.
            PlanFailed: The code is at fault.
            Fenced, Refused, Unavailable: As the log, home and the sinks do.
        """
        raw: Channel[MicroBatch] = Channel()
        planned: Channel[_Planned] = Channel()
        starts = {writer.name: writer.starts for writer in self._writers}
        threads = [
            _stage("reader", raw, lambda: self._read(raw, least(self._writers), proceed)),
            _stage("planner", planned, lambda: self._plan(raw, planned, starts)),
        ]
        try:
            for item in planned:
                self._coordinator.write(item.batch, item.micro, item.outcome)
        finally:
            planned.leave()
            raw.leave()
            self._flow.abandon()
            self._desk.feed.wake()
            for thread in threads:
                thread.join()
            self._mark()

    def _read(
        self, raw: Channel[MicroBatch], starts: dict[int, int], proceed: Callable[[], bool]
    ) -> None:
        deep = False
        marked = 0.0
        while proceed():
            if time.monotonic() - marked > MARK:
                marked = time.monotonic()
                self._mark()
            if not self._flow.admit(DEEP if deep else 1, PAUSE):
                continue
            batch = self._desk.feed.read(starts, self._limits)
            if batch is None:
                deep = False
                self._desk.feed.wait(starts, PAUSE)
                continue
            self.last = sum(len(span) for span in batch.spans.values())
            deep = self._desk.feed.full(batch, self._limits)
            self._flow.started()
            raw.put(batch)
            starts.update({p: span.end for p, span in batch.spans.items()})

    def _mark(self) -> None:
        for writer in self._writers:
            self._desk.feed.mark(writer.name, writer.starts)

    def _plan(
        self,
        raw: Channel[MicroBatch],
        planned: Channel[_Planned],
        starts: Mapping[str, Mapping[int, int]],
    ) -> None:
        fingerprint = self._planning.fingerprint
        try:
            for micro in raw:
                lanes = [n for n, at in starts.items() if _concerns(micro, at)]
                batch = self._desk.opening.open(micro.spans, lanes, fingerprint)
                faults.point("batch-opened")
                here = {name: starts[name] for name in lanes}
                planned.put(_Planned(batch, micro, self._planning(micro, batch, here)))
        finally:
            raw.leave()


def _concerns(batch: MicroBatch, starts: Mapping[int, int]) -> bool:
    return any(starts.get(p, span.start) < span.end for p, span in batch.spans.items())


def _stage(
    name: str, out: Channel[MicroBatch] | Channel[_Planned], work: Callable[[], None]
) -> Thread:
    """Run `work` on a thread; its end or error travels down the channel."""

    def run() -> None:
        try:
            work()
        except ChannelClosed:
            out.end()
        except BaseException as error:
            out.end(error)
        else:
            out.end()

    thread = Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class _Flow:
    """Counts micro-batches under way."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._count = 0
        self._abandoned = False

    def admit(self, most: int, timeout: float) -> bool:
        """Wait until fewer than `most` are under way."""
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._count < most, timeout)
            if self._abandoned:
                raise ChannelClosed
            return self._count < most

    def started(self) -> None:
        with self._changed:
            self._count += 1

    def finished(self) -> None:
        with self._changed:
            self._count = max(0, self._count - 1)  # a recovered batch was never started
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
