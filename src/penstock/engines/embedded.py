"""A run: sources, segments and leases as threads of this process; Spark is joined if asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from penstock.engines import preparing
from penstock.engines.idle import Idleness
from penstock.engines.ingesting.sourcing import SourceRun
from penstock.engines.moving import Place
from penstock.engines.options import Options
from penstock.engines.ownership import Ownership
from penstock.engines.planning import Planning
from penstock.engines.reloading.edits import Reloaded, Reloading
from penstock.engines.segment import SegmentRun
from penstock.engines.status import Board, State
from penstock.engines.stopping import Stop
from penstock.engines.systems import ROOT, Systems
from penstock.engines.upkeep import Upkeep
from penstock.errors import PenstockError, Refused, Unavailable
from penstock.faults import Stopped
from penstock.interfaces import Ranged

if TYPE_CHECKING:
    from penstock.engines.reloading.watching import Watch
    from penstock.engines.spark.session import Cluster
    from penstock.home.contracts import Change
    from penstock.interfaces import Source
    from penstock.pipeline import Pipeline
    from penstock.plan import Segment
    from penstock.profile import Profile

_LOOK = 0.1
"""Seconds between two looks of the main thread."""


class Embedded:
    """Runs a pipeline in this process.

    On a profile with a Spark engine, segments that read topics have their plans run there; all
    else stays in this process.

    Args:
        pipeline: What to run.
        profile: On which systems.
        options: How.
        board: Where it says what it does.
        root: Directory of the embedded PostgreSQL.

    Example:
        >>> Embedded(pipeline, profile.load(), Options(until_idle=True)).run()
    """

    def __init__(
        self,
        pipeline: Pipeline,
        profile: Profile,
        options: Options | None = None,
        *,
        board: Board | None = None,
        root: Path = ROOT,
    ) -> None:
        self.board = board or Board()
        self._pipeline = pipeline
        self._profile = profile
        self._options = options or Options()
        self._root = root
        self._watched: Watch | None = None
        self._cluster: Cluster | None = None
        self._asked = False
        self._reloading: Reloading | None = None
        self.successor: Pipeline | None = None
        """The new version of the program that made this run end, to be run next."""
        self.begun = False
        """Whether it has started, so that what stops it then is not the start."""
        self._stop = Stop()
        self._errors: list[BaseException] = []
        self._broken = False
        self._runs: list[SegmentRun] = []
        self._sources: list[SourceRun] = []
        self._polling: list[Thread] = []

    def follow(self, watch: Watch) -> None:
        """Take new versions of the program while it runs; call it before `run`.

        A segment that stops does not end such a run: an edit may mend it.

        Args:
            watch: Looks at the program's files.
        """
        self._watched = watch

    def stop(self) -> None:
        """Ask for an end after the micro-batches under way; safe in a signal handler."""
        self._asked = True

    def run(self) -> None:
        """Run until stopped, idle or out of time, as the options say.

        Raises:
            CheckError: The program cannot start on this profile.
            ContractError: A change of a contract breaks its readers, or a registry refuses it.
            PlanFailed, Refused: A segment, lane or source stopped for good; the others went on
                until the run's end.
            Unavailable: Home, or Spark's master, cannot be reached at the start; or a run that was
                to end when idle was out of time before.
        """
        segments = preparing.compiled(self._pipeline, self._profile)
        with ExitStack() as stack:
            systems = stack.enter_context(Systems(self._profile, self._pipeline.name, self._root))
            self._check_ranges(segments)
            if self._watched is not None:
                self._reloading = Reloading(
                    self._watched, segments, self._profile, systems, self.board
                )
            self._cluster = self._joined(segments, stack)
            self._work(segments, systems)
        self._errors += [error for run in self._runs for error in run.refused.values()]
        if self._errors and self.successor is None:
            raise self._errors[0]

    def _check_ranges(self, segments: Sequence[Segment]) -> None:
        """Sources that cannot be asked for a range are left alone, if another one can."""
        if self._options.range is None:
            return
        polled = {segment.name: segment.source for segment in segments if segment.source}
        left = [name for name, source in polled.items() if not isinstance(source, Ranged)]
        if len(left) == len(polled):
            raise Refused("no source of this program can be asked for a range; leave out --from")
        for name in left:
            self.board.say(f"source {name}", "takes no ranges; it is left alone")

    def _joined(self, segments: Sequence[Segment], stack: ExitStack) -> Cluster | None:
        """Join the cluster where topics are read, if the profile names one and there are any."""
        topics = any(segment.kind == "topic" for segment in segments)
        if not (self._profile.on_spark and self._options.segments and topics):
            return None
        from penstock.engines.spark.session import Cluster

        def said(words: str) -> None:
            self.board.say("spark", words)

        said(f"starting Spark on {self._profile.engine}")
        folder = self._root / "spark"
        return stack.enter_context(
            Cluster(self._profile, self._pipeline.name, self._options.program, folder, said)
        )

    def _work(self, segments: Sequence[Segment], systems: Systems) -> None:
        self._verify_schemas(segments)
        with systems.home("leases") as home:
            for change in preparing.admit(home, self._pipeline.name, segments):
                self._say_change(change)
            ownership = Ownership(
                home,
                self._pipeline.name,
                self._options.lease_seconds,
                take_over=self._options.take_over,
                revive=systems.revive,
            )
            beat = self._thread("leases", lambda: ownership.run(self._stop))
            threads = self._start(segments, systems, ownership)
            self.begun = True
            upkeep = Upkeep(segments, systems, self.board)
            threads.append(self._thread("upkeep", lambda: upkeep.run(self._stop)))
            try:
                self._watch(systems)
            finally:
                self._stop.set()
                for part in self._parts:
                    part.interrupt()
                for thread in threads:
                    thread.join()
                ownership.recheck()
                beat.join()
                with suppress(Unavailable):  # the leases end with the session
                    ownership.release()

    def _verify_schemas(self, segments: Sequence[Segment]) -> None:
        """Refuse a start that a registry would refuse; one that is away, segments wait for."""
        try:
            preparing.verify_schemas(segments)
        except Unavailable as error:
            self.board.say("registry", f"{error}; what is written to topics waits for it")

    def _say_change(self, change: Change) -> None:
        words = "; ".join(change.compatible) or "new"
        self.board.say("contract", f"contract of {change.name}, version {change.version}: {words}")

    def _start(
        self, segments: Sequence[Segment], systems: Systems, ownership: Ownership
    ) -> list[Thread]:
        threads = []
        for segment in segments:
            place = Place(
                self._pipeline.name,
                segment,
                systems,
                self.board,
                self._stop,
                self._planning(segment),
                self._options,
                self._cluster if segment.kind == "topic" else None,
            )
            if segment.source is not None and self._polls(segment.source):
                source = SourceRun(place, segment.source, ownership)
                self._sources.append(source)
                self._polling.append(self._part(f"source {segment.name}", source))
            if self._options.segments:
                run = SegmentRun(place, ownership)
                self._runs.append(run)
                threads.append(self._part(f"segment {segment.name}", run))
        return threads + self._polling

    def _polls(self, source: Source) -> bool:
        return self._options.sources and (self._options.range is None or isinstance(source, Ranged))

    def _planning(self, segment: Segment) -> Planning:
        return Planning(segment, self._options.program, self._options.variant)

    def _part(self, name: str, part: SegmentRun | SourceRun) -> Thread:
        """Run a segment or source; a fault that is final stops it alone."""

        def work() -> None:
            try:
                part.run()
            except PenstockError as error:
                self._errors.append(error)
                part.give_up(str(error))

        return self._thread(name, work)

    def _thread(self, name: str, work: Callable[[], None]) -> Thread:
        def body() -> None:
            try:
                work()
            except Stopped:
                pass
            except BaseException as error:
                self._errors.append(error)
                self._broken = True

        thread = Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def _watch(self, systems: Systems) -> None:
        """Wait until the run is over."""
        limit = self._options.for_seconds
        deadline = None if limit is None else time.monotonic() + limit
        with closing(Idleness(self._runs, systems)) as idleness:
            while not (self._asked or self._broken or self._all_stopped()):
                if self._ends_by_itself() and idleness.reached():
                    return
                if deadline is not None and time.monotonic() > deadline:
                    self._errors += self._undone()
                    return
                if self._followed():
                    return
                time.sleep(_LOOK)

    def _undone(self) -> list[PenstockError]:
        """What was not done when time was up, in one error, if all was to be done."""
        if not self._options.until_idle:
            return []
        found = self.board.snapshot()
        left = {
            _doing(f"the source of {one.landing}", one.state, one.reason)
            for one in found.sources
            if one.state not in (State.STOPPED, State.FINISHED)
        }
        left |= {_doing(one.lane, one.state, one.reason) for one in found.lanes if one.lag != 0}
        words = "; ".join(sorted(left)) or "records are still on their way"
        return [Unavailable(f"time is up, and not all is done: {words}")]

    def _followed(self) -> bool:
        """Take a new version of the program, if there is one; whether this run ends for it."""
        if self._reloading is not None and (found := self._reloading.look()):
            self._take(found)
        return self.successor is not None

    def _take(self, found: Reloaded) -> None:
        """Go on with a new version of the program: at once, or by a run of its own."""
        stopped = ["something has stopped"] * any(part.stopped for part in self._parts)
        if why := [*found.why, *stopped]:
            words = f"taking the new program by forming anew: {'; '.join(why)}"
            self.board.say("reload", words)
            self.successor = found.pipeline
            return
        segments = {segment.name: segment for segment in found.segments}
        for run in self._runs:
            segment = segments[run.place.segment.name]
            run.take(replace(run.place, segment=segment, planning=self._planning(segment)))
        self.board.say("reload", "the new program is taken from the next micro-batch on")

    def _ends_by_itself(self) -> bool:
        ends = self._options.until_idle or self._options.run_id is not None
        return ends and not any(thread.is_alive() for thread in self._polling)

    def _all_stopped(self) -> bool:
        return self._reloading is None and all(part.stopped for part in self._parts)

    @property
    def _parts(self) -> tuple[SegmentRun | SourceRun, ...]:
        return (*self._sources, *self._runs)


def _doing(who: str, state: State, reason: str) -> str:
    """What holds somebody up; the same words for all that wait for one system."""
    if state is State.WAITING:
        return reason
    return f"{who} is {state}: {reason}" if reason else f"{who} is {state}"
