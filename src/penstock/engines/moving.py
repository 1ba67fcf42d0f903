"""Moves a segment's lanes through the partitions that this process holds.

Lanes that stand together form the group. A lane whose store wants large commits never belongs to
it: it moves on a thread of its own, at its own pace. A lane whose store is away, or that is new or
far behind, catches up on a thread of its own and joins the group again when it is near; so one
store that is away never stops another lane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, cast

from penstock.engines import tails
from penstock.engines.books import Books, Moved
from penstock.engines.desk import Desk
from penstock.engines.feed import Feed
from penstock.engines.group import Group
from penstock.engines.lanes import LanesDown, LaneWriter, claim_all, slow
from penstock.engines.preparing import recognise_target, recognise_topic
from penstock.engines.reading import Reading, paced
from penstock.engines.status import Board, State
from penstock.engines.stopping import Stop, delays
from penstock.errors import Refused, Unavailable
from penstock.home import orders
from penstock.home.replays import ReplayLog
from penstock.records import LaneKey

if TYPE_CHECKING:
    from penstock.engines.options import Options
    from penstock.engines.planning import Planning
    from penstock.engines.spark.session import Cluster
    from penstock.engines.supply import Supply
    from penstock.engines.systems import Systems
    from penstock.interfaces import Forgetful, Sink
    from penstock.plan import Lane, Segment

NEAR = 1_000
"""Offsets behind the group within which a lane joins it, whatever a micro-batch holds."""

PATIENCE = 0.5
"""Seconds between two looks while there is nothing to do."""


@dataclass(frozen=True)
class Place:
    """What a segment's run works with."""

    pipeline: str
    segment: Segment
    systems: Systems
    board: Board
    stop: Stop
    planning: Planning
    options: Options
    cluster: Cluster | None = None
    """Where the segment's plan runs; None is this process."""

    def revive(self) -> None:
        """Bring back what Penstock itself runs; if that fails, the caller's next attempt does."""
        with suppress(Unavailable):
            self.systems.revive()


class Moving:
    """Moves all lanes of a segment until stopped or interrupted.

    Args:
        place: The segment and its surroundings.
        log_id: Identity of its log.
        epochs: The partitions held, the replay log's among them.
    """

    def __init__(self, place: Place, log_id: str, epochs: Mapping[int, int]) -> None:
        self._place = place
        self._log_id = log_id
        self._epochs = dict(epochs)
        self._changed = Condition()
        self._interrupted = False
        self._group: list[LaneWriter] = []
        self._joining: list[LaneWriter] = []
        self._threads: list[Thread] = []
        self._feeds: list[Feed] = []
        self._error: BaseException | None = None
        self.refused: dict[str, Refused] = {}
        """Lanes whose stores say a final no; the others go on."""
        self.writers = [
            LaneWriter(lane.name, partial(self._sink, lane)) for lane in place.segment.lanes
        ]

    def _sink(self, lane: Lane) -> Sink:
        place, accept = self._place, self._place.options.accept_log
        if lane.mode == "topic":
            recognise_topic(place.systems, place.pipeline, lane, accept=accept)
        sink = place.systems.sink(lane, self._key(lane.name))
        if sink.capabilities.forgets:
            recognise_target(
                place.systems, place.pipeline, lane, cast("Forgetful", sink), accept=accept
            )
        return sink

    def _key(self, lane: str) -> LaneKey:
        return LaneKey(self._place.pipeline, self._log_id, self._place.segment.name, lane)

    def interrupt(self) -> None:
        """End soon, after the micro-batches under way; from any thread."""
        with self._changed:
            self._interrupted = True
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
            for feed in self._feeds:
                feed.wake()

    @property
    def _going(self) -> bool:
        return not (self._interrupted or self._place.stop.asked or self._error)

    def run(self) -> None:
        """Move the lanes; what a lane's own thread died of is raised here, too."""
        try:
            with self._desk() as desk:
                self._move_all(desk)
        finally:
            self.interrupt()
            for thread in self._threads:
                thread.join()
            for writer in self.writers:
                writer.close()
        if self._error is not None:
            raise self._error

    def _move_all(self, desk: Desk) -> None:
        down = claim_all(self.writers, self._epochs)
        oldest = desk.feed.oldest()
        for writer in self.writers:
            writer.oldest = oldest
        tails.verify(desk.feed, self.writers)
        up = [writer for writer in self.writers if writer.name not in down]
        behind = [writer for writer in up if writer.alone or _lag(writer, up) > NEAR]
        self._group = [writer for writer in up if writer not in behind]
        for writer in behind:
            self._leave(writer, State.CATCHING_UP)
        self._part_with(down)
        while self._going:
            self._admit()
            if self._group:
                self._move_group(desk)
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._joining or not self._going, PATIENCE)

    def _proceeds(self, feed: Feed) -> bool:
        """Whether to read on; a log that has grown is taken up by forming anew."""
        if feed.grown:
            self._interrupted = True
        return self._going

    def _admit(self) -> None:
        with self._changed:
            self._group += self._joining
            self._joining = []

    def _move_group(self, desk: Desk) -> None:
        group = self._grouped(desk, self._group)
        try:
            group.recover()
            for writer in self._group:
                self._say(writer.name, State.RUNNING)
            group.run(
                lambda: self._proceeds(desk.feed) and not (self._joining or slow(self._group))
            )
            if late := slow(self._group):
                self._group = [writer for writer in self._group if writer is not late]
                late.busy = 0.0
                self._leave(late, State.CATCHING_UP, "slower than the other lanes")
        except LanesDown as away:
            self._group = [writer for writer in self._group if writer.name not in away.errors]
            self._part_with(away.errors)

    def _part_with(self, errors: Mapping[str, Unavailable | Refused]) -> None:
        """Go on without lanes: those whose stores are away follow on their own, refused ones end.

        Raises:
            Refused: No lane is left.
        """
        for name, error in errors.items():
            if isinstance(error, Refused):
                self._refuse(name, error)
            else:
                self._leave(self._writer(name), State.WAITING, str(error))

    def _refuse(self, lane: str, error: Refused) -> None:
        """Let a lane end; the last one takes the segment with it."""
        self.refused[lane] = error
        if len(self.refused) == len(self.writers):
            raise error
        self._say(lane, State.STOPPED, str(error))
        self._place.board.lag(self._place.segment.name, lane, None)

    def _leave(self, writer: LaneWriter, state: State, reason: str = "") -> None:
        """Let a lane go on alone."""
        self._say(writer.name, state, reason)
        thread = Thread(
            target=self._catch_up, args=(writer,), name=f"catch up {writer.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _catch_up(self, writer: LaneWriter) -> None:
        try:
            self._follow_patiently(writer)
        except BaseException as error:
            self._error = error
            self._wake()

    def _follow_patiently(self, writer: LaneWriter) -> None:
        waits = delays()
        while self._going:
            try:
                self._follow(writer)
                return
            except LanesDown as down:
                error = down.errors[writer.name]
                if isinstance(error, Refused):
                    self._refuse(writer.name, error)
                    return
                self._say(writer.name, State.WAITING, str(error))
            except Unavailable as error:
                self._say(writer.name, State.WAITING, str(error))
            with self._changed:
                self._changed.wait_for(lambda: not self._going, next(waits))
            self._place.revive()

    def _follow(self, writer: LaneWriter) -> None:
        """Bring a lane near the group, then let it join."""
        if down := claim_all([writer], self._epochs):
            raise LanesDown(down)
        with self._desk() as desk:
            tails.verify(desk.feed, [writer])
            group = self._grouped(desk, [writer])
            if not self._near(writer, 0):
                self._say(writer.name, State.RUNNING if writer.alone else State.CATCHING_UP)
                group.recover()
                group.run(lambda: self._proceeds(desk.feed) and not self._near(writer, group.last))
        if writer.alone:
            return
        with self._changed:
            self._joining.append(writer)
        self._wake()

    def _near(self, writer: LaneWriter, batch: int) -> bool:
        if writer.alone:
            return False
        return not self._group or _lag(writer, self._group) <= max(NEAR, 2 * batch)

    def _grouped(self, desk: Desk, writers: Sequence[LaneWriter]) -> Group:
        self._say_lags(desk.feed, writers)
        moved = partial(self._moved, desk.feed)
        supply = self._supply(desk, writers)
        return Group(desk, list(writers), self._place.planning, supply, moved)

    def _supply(self, desk: Desk, writers: Sequence[LaneWriter]) -> Supply:
        place = self._place
        if place.cluster is None:
            return Reading(desk, writers, place.planning, paced(writers, place.options))
        from penstock.engines.spark.query import Query

        return Query(place, place.cluster, desk, writers, self._log_id)

    def _moved(self, feed: Feed, moved: Sequence[Moved]) -> None:
        segment, board = self._place.segment.name, self._place.board
        for step in moved:
            board.moved(segment, step.lane, step.counts, step.latency)
        self._say_lags(feed, [self._writer(lane) for lane in {step.lane for step in moved}])

    def _say_lags(self, feed: Feed, writers: Sequence[LaneWriter]) -> None:
        for writer in writers:
            starts = writer.starts
            behind = (max(0, end - starts.get(p, end)) for p, end in feed.ends.items())
            self._place.board.lag(self._place.segment.name, writer.name, sum(behind))

    def _say(self, lane: str, state: State, reason: str = "") -> None:
        self._place.board.lane(self._place.segment.name, lane, state, reason)

    def _writer(self, lane: str) -> LaneWriter:
        return next(writer for writer in self.writers if writer.name == lane)

    def _forget(self, feed: Feed) -> None:
        with self._changed:
            self._feeds.remove(feed)

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        """Connect to the log and to home, for one group."""
        place = self._place
        with ExitStack() as stack:
            log = place.systems.log(place.segment)
            stack.callback(log.close)
            homes = [stack.enter_context(place.systems.home()) for _ in range(3)]
            with homes[0].transaction() as cursor:
                ends = {partition: span.end for partition, span in log.spans().items()}
                bases = orders.bases(cursor, self._log_id, ends)
            replays = ReplayLog(homes[0], place.pipeline, place.segment.name, self._log_id)
            feed = Feed(log, replays, bases, place.segment.codec)
            feed.ends = ends
            stack.callback(self._forget, feed)
            with self._changed:
                self._feeds.append(feed)
            opening, closing = (
                Books(home, place.pipeline, self._log_id, place.segment, self._epochs)
                for home in homes[1:]
            )
            yield Desk(feed, opening, closing, self._desk)


def _lag(writer: LaneWriter, others: Sequence[LaneWriter]) -> int:
    """Offsets by which a lane is behind the foremost of the others."""
    starts = writer.starts
    front = {p: max(o.starts.get(p, 0) for o in others) for p in starts}
    return sum(max(0, front[p] - start) for p, start in starts.items())
