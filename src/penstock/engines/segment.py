"""One segment at work in this process: takes partitions and moves its lanes through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.engines import preparing
from penstock.engines.moving import Moving, Place
from penstock.engines.status import State
from penstock.engines.stopping import delays
from penstock.errors import Fenced, Refused, Unavailable
from penstock.plan import REPLAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock.engines.ownership import Ownership

Standing = list[dict[int, int]]
"""For each lane the next offset of each partition."""

PATIENCE = 1.0
"""Seconds between two looks while no partition is held."""


class SegmentRun:
    """Runs one segment until the place's stop; `run` is the body of its thread.

    Args:
        place: The segment and its surroundings.
        ownership: The leases.
    """

    def __init__(self, place: Place, ownership: Ownership) -> None:
        self.place = place
        self._ownership = ownership
        self._moving: Moving | None = None
        self._known: list[int] = []
        self.stopped = False
        """Whether it stopped for good, by a fault that waiting does not mend."""
        self.refused: dict[str, Refused] = {}
        """Lanes whose stores said a final no when it last moved."""
        for lane in place.segment.lanes:
            place.board.add_lane(place.segment.name, lane.name)

    def run(self) -> None:
        """Work until asked to stop; whatever is away is waited for."""
        waits = delays()
        while not self.place.stop.asked:
            try:
                self._work()
                waits = delays()
            except Unavailable as error:
                self._say(State.WAITING, str(error))
                self.place.stop.wait(next(waits))
                self.place.revive()
            except Fenced as error:
                self._say(State.STANDING_BY, str(error))
                self._ownership.recheck()
                self.place.stop.wait(PATIENCE)

    def _work(self) -> None:
        """Work with the partitions held until they change, or wait for some."""
        place = self.place
        name = place.segment.name
        log = place.systems.log(place.segment)
        try:
            log_id, partitions = log.identity(), [*log.spans(), REPLAY]
        finally:
            log.close()
        with place.systems.home() as home:
            preparing.recognise(home, place.pipeline, name, log_id, accept=place.options.accept_log)
        preparing.register(place.segment)
        self._known = partitions
        self._ownership.want(name, partitions, self.interrupt)
        epochs = self._ownership.owned(name, PATIENCE)
        if not epochs:
            if holders := self._ownership.holders(name):
                self._say(State.STANDING_BY, holders)
            return
        self._moving = Moving(place, log_id, epochs)
        self.refused = self._moving.refused
        if self.place is not place:  # another plan came before there was anything to interrupt
            self._moving.interrupt()
        try:
            self._moving.run()
        finally:
            self._moving = None

    def give_up(self, reason: str) -> None:
        """Say why it stopped for good; the other segments go on."""
        self.stopped = True
        self._say(State.STOPPED, reason)
        for lane in self.place.segment.lanes:
            self.place.board.lag(self.place.segment.name, lane.name, None)

    def take(self, place: Place) -> None:
        """Go on with another plan of the same shape, after the micro-batches under way.

        Args:
            place: As before but for the segment's plan; from any thread.
        """
        self.place = place
        self.interrupt()

    def interrupt(self) -> None:
        """Form anew: the partitions held have changed, or all shall end."""
        moving = self._moving
        if moving is not None:
            moving.interrupt()

    def standing(self) -> Standing | None:
        """Tell where the lanes are; None while they do not move."""
        moving = self._moving
        return None if moving is None else [writer.starts for writer in moving.writers]

    def reached(self, ends: Mapping[int, int]) -> bool:
        """Whether every lane has taken everything before these ends, of the partitions held.

        Lanes that are refused never will.
        """
        moving = self._moving
        if moving is None or not ends.keys() <= set(self._known):
            return False
        return all(
            writer.progress and all(ends.get(p, 0) <= at for p, at in writer.starts.items())
            for writer in moving.writers
            if writer.name not in moving.refused
        )

    def _say(self, state: State, reason: str = "") -> None:
        for lane in self.place.segment.lanes:
            self.place.board.lane(self.place.segment.name, lane.name, state, reason)
