"""Whether there is anything left to do: for a run that ends by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.errors import Unavailable
from penstock.home.replays import ReplayLog
from penstock.plan import REPLAY

if TYPE_CHECKING:
    from penstock.engines.segment import SegmentRun, Standing
    from penstock.engines.systems import Systems
    from penstock.home.database import Home
    from penstock.interfaces import Log


class Idleness:
    """Compares every lane with the ends of its log and replay log. For one thread.

    Args:
        runs: The segments, upstream first.
        systems: Opens logs and home.
    """

    def __init__(self, runs: Sequence[SegmentRun], systems: Systems) -> None:
        self._runs = runs
        self._systems = systems
        self._logs: dict[str, Log] = {}
        self._home: Home | None = None
        self._standing: list[Standing | None] = []

    def reached(self) -> bool:
        """Whether every lane still at work has taken everything; False while a system is away.

        The logs are asked only when no lane has moved since the last look.
        """
        before, self._standing = self._standing, [run.standing() for run in self._going()]
        if self._standing != before or None in before:
            return False
        try:
            # Upstream first: what a finished segment wrote is all that the next one will read.
            return all(self._done(run) for run in self._going())
        except Unavailable:
            self.close()
            return False

    def _going(self) -> list[SegmentRun]:
        return [run for run in self._runs if not run.stopped]

    def _done(self, run: SegmentRun) -> bool:
        segment = run.place.segment
        if segment.name not in self._logs:
            self._logs[segment.name] = self._systems.log(segment)
        if self._home is None:
            self._home = self._systems.home("idle")
        log = self._logs[segment.name]
        ends = {partition: span.end for partition, span in log.spans().items()}
        replays = ReplayLog(self._home, run.place.pipeline, segment.name, log.identity())
        return run.reached({**ends, REPLAY: replays.end()})

    def close(self) -> None:
        """Release connections."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()
        if self._home is not None:
            self._home.close()
            self._home = None
