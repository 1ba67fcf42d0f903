"""A program that is edited while it runs: what is taken at once, what makes the run form anew.

* Another computation (maps, filters, explodes between the same logs and lanes): each segment
  finishes the micro-batches under way and goes on with the new plan. Sources and leases stay.
* Another shape (a lane, topic, source or contract that is new, gone or changed): the run ends as
  it does at a stop, and a run of the new program begins in the same process.
* A program that could not start is refused, and the old one goes on.

Either way no micro-batch sees two plans, and exactly-once rests on what it always rests on: the
progress in each sink, and the open batch. A process that is killed in between starts with
whatever program there is then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock import pipeline as programs
from penstock.engines import preparing
from penstock.engines.reloading.shape import differences, shape
from penstock.engines.reloading.watching import anew
from penstock.errors import CheckError, PenstockError, Unavailable
from penstock.home import contracts
from penstock.records import LaneKey

if TYPE_CHECKING:
    from penstock.engines.reloading.watching import Watch
    from penstock.engines.status import Board
    from penstock.engines.systems import Systems
    from penstock.pipeline import Pipeline
    from penstock.plan import Segment
    from penstock.profile import Profile


@dataclass(frozen=True)
class Reloaded:
    """A program that will be taken.

    Args:
        pipeline: What it declares.
        segments: The same, compiled and tried on made-up records.
        why: What makes the run form anew; empty when only computations differ.
    """

    pipeline: Pipeline
    segments: Sequence[Segment]
    why: Sequence[str]


class Reloading:
    """Watches a program and judges each new version of it. For one thread.

    Args:
        watch: Looks at its files; those that run now were loaded under it.
        running: What runs, compiled; before anything is polled.
        profile: On which systems.
        systems: The same, open.
        board: Where a refusal is said.
    """

    def __init__(
        self,
        watch: Watch,
        running: Sequence[Segment],
        profile: Profile,
        systems: Systems,
        board: Board,
    ) -> None:
        self._watch = watch
        self._shape = shape(running)
        self._profile = profile
        self._systems = systems
        self._board = board
        self._pipeline = systems.pipeline
        self._lost = False

    def look(self) -> Reloaded | None:
        """Look whether there is a new version, and whether it can be taken; says why not."""
        changed = self._watch.changed()
        self._say_lost()
        if not changed:
            return None
        try:
            found = self._judged()
        except PenstockError as error:
            self._watch.loaded(whole=False)
            words = f"the new program is refused, the old one goes on: {error}"
            self._board.say("reload-refused", words, "warning")
            return None
        self._watch.loaded(whole=True)
        return found

    def _say_lost(self) -> None:
        if self._watch.lost and not self._lost:
            words = f"{self._watch.program} is gone; what runs goes on until it is back"
            self._board.say("reload", words, "warning")
        self._lost = self._watch.lost

    def _judged(self) -> Reloaded:
        """Load and compile the program, and ask what a start would ask.

        Raises:
            PenstockError: It could not start.
        """
        with anew(self._watch.program):
            pipeline = programs.load(self._watch.program)
            if pipeline.name != self._pipeline:
                raise CheckError(
                    [
                        f"the pipeline is called {pipeline.name!r} now, it was {self._pipeline!r}: "
                        "progress is kept under its name; stop the run to start another pipeline"
                    ]
                )
            segments = preparing.compiled(pipeline, self._profile)
            after = shape(segments)
            why = differences(self._shape, after)
            if why:
                self._verify(segments)
        if not why:
            self._shape = after
        return Reloaded(pipeline, segments, why)

    def _verify(self, segments: Sequence[Segment]) -> None:
        """Refuse another shape as a start would; a system that is away refuses nothing."""
        try:
            preparing.verify_schemas(segments)
            with self._systems.home("reload") as home, home.transaction() as cursor:
                contracts.verify(cursor, self._pipeline, segments)
            for key, lane in ((s.name, lane) for s in segments for lane in s.lanes):
                sink = self._systems.sink(lane, LaneKey(self._pipeline, "", key, lane.name))
                with closing(sink):
                    list(sink.preview())
        except Unavailable as error:
            self._board.say("reload", f"not all could be asked: {error}", "warning")
