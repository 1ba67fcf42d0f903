"""The supply of this process: a thread reads, a thread plans.

Small batches are not queued up behind one another: at the log's end the reader waits until the one
before is visible, so that what came in the meantime goes in one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    from penstock.engines.options import Options
    from penstock.engines.planning import Planning
    from penstock.home.batches import OpenBatch
    from penstock.plan import MicroBatch

MOST_BYTES = 4 << 20
"""The most that one micro-batch reads: enough to be fast, little enough to hold several."""

RECORDS = 20_000
"""The most records of a micro-batch, unless told otherwise."""

_LARGE = 1_000
"""Bytes of a large record: a limit of few records is one of few bytes, too."""

_GLANCE = 0.2
"""Seconds between two looks whether there is enough for a large micro-batch."""

PAUSE = 0.5
"""Seconds after which an idle reader looks whether it shall end."""


@dataclass(frozen=True)
class Pace:
    """How much a micro-batch holds, and how often there is one.

    Args:
        limits: The most that it reads.
        interval: Seconds from one to the next while less than half of `limits` is there.
    """

    limits: Limits
    interval: float = 0.0


def paced(writers: Sequence[LaneWriter], options: Options) -> Pace:
    """Say at which pace lanes move: alone, one whose store wants large commits."""
    if len(writers) == 1 and writers[0].alone:
        wanted = writers[0].capabilities
        records = options.batch_records or wanted.most_records or RECORDS
        ends = options.until_idle or options.run_id is not None
        interval = 0.0 if ends else wanted.least_commit_interval
        return Pace(Limits(records, wanted.most_bytes or MOST_BYTES), interval)
    records = options.batch_records or RECORDS
    return Pace(Limits(records, min(MOST_BYTES, records * _LARGE)))


class Reading:
    """Reads and plans in this process.

    Args:
        desk: The group's connections.
        writers: The group's lanes, claimed.
        planning: Runs the plan.
        pace: How much at once, and how often.
    """

    def __init__(
        self, desk: Desk, writers: Sequence[LaneWriter], planning: Planning, pace: Pace
    ) -> None:
        self.flow = Flow()
        self.last = 0
        self._desk = desk
        self._writers = writers
        self._planning = planning
        self._limits = pace.limits
        self._interval = pace.interval
        self._due = 0.0
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
            if not (deep or self._is_time(starts)):
                time.sleep(_GLANCE)
                continue
            batch = self._desk.feed.read(starts, self._limits)
            self._due = time.monotonic() + self._interval
            if batch is None:
                deep = False
                self._desk.feed.wait(starts, PAUSE)
                continue
            self.last = sum(len(span) for span in batch.spans.values())
            deep = self._desk.feed.full(batch, self._limits)
            self.flow.started()
            raw.put(batch)
            starts.update({p: span.end for p, span in batch.spans.items()})

    def _is_time(self, starts: Mapping[int, int]) -> bool:
        """Whether the last read is long enough ago, or there is enough to read."""
        if not self._interval or time.monotonic() >= self._due:
            return True
        self._desk.feed.look()
        there = sum(max(0, end - starts.get(p, end)) for p, end in self._desk.feed.ends.items())
        return there * 2 >= self._limits.records

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
