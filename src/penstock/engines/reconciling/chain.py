"""Whether a topic was given what the lanes that write it say that they wrote."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.home import ledger
from penstock.logs.paging import pages
from penstock.records import Counts, LaneKey

if TYPE_CHECKING:
    from penstock.engines.systems import Systems
    from penstock.home.database import Cursor, Home
    from penstock.interfaces import Log, Sink
    from penstock.plan import Lane, Segment


@dataclass(frozen=True)
class Chained:
    """What was found.

    Args:
        differences: Topics that hold more or less than was written, one sentence each.
        notes: Topics that nothing can be said about, and why.
    """

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(
    pipeline: str, segments: Sequence[Segment], systems: Systems, home: Home, *, deep: bool
) -> Chained:
    """Check that what the lanes wrote to the topics of a pipeline is what these got.

    Args:
        pipeline: The pipeline's name.
        segments: Its program, compiled.
        systems: Entered.
        home: Connected.
        deep: Whether to count records one by one where offsets do not tell.

    Raises:
        Unavailable: A system is away.
    """
    found = Chained()
    writers: dict[str, list[tuple[Segment, Lane]]] = {}
    for segment in segments:
        for lane in segment.lanes:
            if lane.mode == "topic":
                writers.setdefault(lane.table, []).append((segment, lane))
    for some in writers.values():
        with ExitStack() as stack:
            _Topic(pipeline, systems, home, some, stack).verify(found, deep=deep)
    return found


class _Topic:
    """One topic with every lane that writes it, of the program now and of those before."""

    def __init__(
        self,
        pipeline: str,
        systems: Systems,
        home: Home,
        writers: Sequence[tuple[Segment, Lane]],
        stack: ExitStack,
    ) -> None:
        self._pipeline = pipeline
        self._systems = systems
        self._home = home
        self._lane = writers[0][1]
        self._keys: list[LaneKey] = []
        self._sinks: list[Sink] = []
        for segment, lane in writers:
            with closing(systems.log(segment)) as log:
                key = LaneKey(pipeline, log.identity(), segment.name, lane.name)
            self._keys.append(key)
            self._sinks.append(systems.sink(lane, key))
            stack.callback(self._sinks[-1].close)

    def verify(self, found: Chained, *, deep: bool) -> None:
        former = self._former()
        before = former + self._delivered()
        with closing(self._systems.topic(self._lane.table)) as topic:
            log_id = topic.identity()
            least, most = given(topic, gapless=self._systems.gapless, deep=deep)
        after = former + self._delivered()
        if least <= after and before <= most:
            return
        name = self._lane.name
        with self._home.transaction() as cursor:
            anew = made_anew(cursor, self._pipeline, self._lane.table, log_id)
            source_anew = any(
                made_anew(cursor, self._pipeline, key.segment, key.log_id) for key in self._keys
            )
        about = f"topic {self._lane.table!r}"
        if source_anew and before <= most:
            found.notes.append(
                f"lane {name}: its log was made anew; {about} holds what came "
                "from the one before, too, and its records are not counted"
            )
        elif anew and least <= after:
            found.notes.append(
                f"lane {name}: {about} was made anew; what was written to the "
                "one before is not there to be counted"
            )
        else:
            found.differences.append(
                f"lane {name} wrote {after} records, {about} was given {most}: "
                "somebody else writes it, or it was restored"
            )

    def _delivered(self) -> int:
        stands = [one.totals for sink in self._sinks for one in sink.progress().values()]
        return _given_on(sum(stands, Counts()))

    def _former(self) -> int:
        """What segments wrote that the program has no more, or that write it no more."""
        now = {key.segment for key in self._keys}
        with self._home.transaction() as cursor:
            known = ledger.tails(cursor, self._pipeline).items()
        return sum(
            _given_on(tail.totals)
            for (key, _), tail in known
            if key.lane == self._lane.name and key.segment not in now
        )


def _given_on(totals: Counts) -> int:
    return totals.written + totals.deleted + totals.superseded


def given(topic: Log, *, gapless: bool, deep: bool) -> tuple[int, int]:
    """Count the records that a topic was ever given: the least and the most it can be.

    Args:
        topic: The topic.
        gapless: Whether each offset holds a record.
        deep: Whether to count one by one where the offsets do not tell.

    Raises:
        Unavailable: The log is away.
    """
    spans = topic.spans()
    ends = sum(span.end for span in spans.values())
    if gapless:
        return ends, ends
    if not deep:
        return 0, ends
    found = sum(frame.height for frame in pages(topic))
    return found, found + sum(span.start for span in spans.values())


def made_anew(cursor: Cursor, pipeline: str, topic: str, log_id: str) -> bool:
    """Whether a pipeline has known another topic of this name.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
        topic: The topic's name.
        log_id: Its identity now.
    """
    cursor.execute(
        "SELECT EXISTS (SELECT FROM penstock.lanes"
        " WHERE pipeline = %s AND segment = %s AND log_id NOT IN (%s, %s))",
        [pipeline, topic, log_id, f"replay:{log_id}"],
    )
    return bool(next(iter(cursor))[0])
