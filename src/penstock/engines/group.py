"""Lanes that stand together: one supply of micro-batches, one committer, side by side.

Reading and planning the next batch overlaps staging and committing this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.engines.channel import Channel
from penstock.engines.coordinator import Coordinator
from penstock.engines.supply import Planned, Supply

if TYPE_CHECKING:
    from penstock.engines.books import Moved
    from penstock.engines.desk import Desk
    from penstock.engines.lanes import LaneWriter
    from penstock.engines.planning import Planning


class Group:
    """Moves lanes along a log together.

    Args:
        desk: Its connections.
        writers: The lanes, claimed.
        planning: Runs the plan in this process, for what was left open.
        supply: Gives planned micro-batches.
        moved: Told after each commit, on the committing thread.
    """

    def __init__(
        self,
        desk: Desk,
        writers: Sequence[LaneWriter],
        planning: Planning,
        supply: Supply,
        moved: Callable[[Sequence[Moved]], None],
    ) -> None:
        self._desk = desk
        self._writers = writers
        self._planning = planning
        self._supply = supply
        self._coordinator = Coordinator(
            desk.closing, writers, planning.fingerprint, moved, supply.flow.finished
        )

    @property
    def last(self) -> int:
        """How many offsets the last micro-batch had."""
        return self._supply.last

    def recover(self) -> None:
        """Finish what was left open; before `run`."""
        self._coordinator.recover(self._desk.feed, self._planning)

    def run(self, proceed: Callable[[], bool]) -> None:
        """Move the lanes until `proceed` says no; what was read by then is committed.

        Args:
            proceed: Asked before each read, on a thread of the supply.

        Raises:
            LanesDown: Some lanes' stores are away or refuse.
            PlanFailed: The code is at fault.
            Fenced, Refused, Unavailable: As the log, home and the sinks do.
        """
        planned: Channel[Planned] = Channel()
        self._supply.start(planned, proceed)
        try:
            for item in planned:
                self._write(item)
        finally:
            planned.leave()
            self._supply.flow.abandon()
            self._supply.end()
            self._desk.mark(self._writers, now=True)

    def _write(self, item: Planned) -> None:
        if lanes := self._coordinator.write(item):
            with self._desk.another() as desk:
                self._coordinator.run_again(item.batch, lanes, desk.feed, self._planning)
