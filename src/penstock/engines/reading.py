"""The supply of this process: a thread reads, a thread plans.

Small batches are not queued up behind one another: at the log's end the reader waits until the one
before is visible, so that what came in the meantime goes in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING

from penstock import faults
from penstock.engines.channel import Channel
from penstock.engines.flow import DEEP, Flow
from penstock.engines.lanes import LaneWriter, least
from penstock.engines.supply import Planned
from penstock.records import Limits, Span

if TYPE_CHECKING:
    from penstock.engines.desk import Desk
    from penstock.engines.planning import Planning
    from penstock.home.batches import OpenBatch
    from penstock.plan import MicroBatch

MOST_BYTES = 4 << 20
"""The most that one micro-batch reads: enough to be fast, little enough to hold several."""

RECORDS = 20_000
"""The most records of a micro-batch, unless told otherwise."""

_LARGE = 1_000
"""Bytes of a large record: a limit of few records is one of few bytes, too."""

PAUSE = 0.5
"""Seconds after which an idle reader looks whether it shall end."""


class Reading:
    """Reads and plans in this process.

    Args:
        desk: The group's connections.
        writers: The group's lanes, claimed.
        planning: Runs the plan.
        records: The most records in a micro-batch.
    """

    def __init__(
        self, desk: Desk, writers: Sequence[LaneWriter], planning: Planning, records: int = RECORDS
    ) -> None:
        self.flow = Flow()
        self.last = 0
        self._desk = desk
        self._writers = writers
        self._planning = planning
        self._limits = Limits(records, min(MOST_BYTES, records * _LARGE))
        self._raw: Channel[MicroBatch] = Channel()
        self._threads: list[Thread] = []

    def start(self, out: Channel[Planned], proceed: Callable[[], bool]) -> None:
        raw = self._raw
        starts = {writer.name: writer.starts for writer in self._writers}
        self._threads = [
            raw.fed("reader", lambda: self._read(raw, least(self._writers), proceed)),
            out.fed("planner", lambda: self._plan(raw, out, starts)),
        ]

    def end(self) -> None:
        self._raw.leave()
        self._desk.feed.wake()
        for thread in self._threads:
            thread.join()

    def _read(
        self, raw: Channel[MicroBatch], starts: dict[int, int], proceed: Callable[[], bool]
    ) -> None:
        deep = False
        while proceed():
            self._desk.mark(self._writers)
            if not self.flow.admit(DEEP if deep else 1, PAUSE):
                continue
            batch = self._desk.feed.read(starts, self._limits)
            if batch is None:
                deep = False
                self._desk.feed.wait(starts, PAUSE)
                continue
            self.last = sum(len(span) for span in batch.spans.values())
            deep = self._desk.feed.full(batch, self._limits)
            self.flow.started()
            raw.put(batch)
            starts.update({p: span.end for p, span in batch.spans.items()})

    def _plan(
        self,
        raw: Channel[MicroBatch],
        planned: Channel[Planned],
        starts: Mapping[str, Mapping[int, int]],
    ) -> None:
        try:
            for micro in raw:
                planned.put(plan_here(self._desk, self._planning, micro, starts))
        finally:
            raw.leave()


def plan_here(
    desk: Desk, planning: Planning, micro: MicroBatch, starts: Mapping[str, Mapping[int, int]]
) -> Planned:
    """Open a micro-batch and plan it in this process.

    Args:
        desk: The group's connections.
        planning: Runs the plan.
        micro: What was read.
        starts: For each lane of the group where it stands.
    """
    lanes = concerned(micro.spans, starts)
    batch = opened(desk, planning, micro.spans, lanes)
    here = {name: starts[name] for name in lanes}
    return Planned.here(batch, micro, planning(micro, batch, here))


def opened(
    desk: Desk, planning: Planning, spans: Mapping[int, Span], lanes: Sequence[str]
) -> OpenBatch:
    """Record a micro-batch at home, before anything of it is done."""
    batch = desk.opening.open(spans, lanes, planning.fingerprint)
    faults.point("batch-opened")
    return batch


def concerned(spans: Mapping[int, Span], starts: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Name the lanes that lack something of these spans."""
    return [
        name
        for name, at in starts.items()
        if any(at.get(p, span.start) < span.end for p, span in spans.items())
    ]
