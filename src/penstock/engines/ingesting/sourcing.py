"""One source at work in this process: holds its lease, and lands what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.engines.ingesting.ingest import Ingest
from penstock.engines.status import State
from penstock.engines.stopping import Stop, StoppableClock, delays
from penstock.errors import Fenced, Unavailable
from penstock.faults import Stopped
from penstock.interfaces import Ranged

if TYPE_CHECKING:
    from penstock.engines.moving import Place
    from penstock.engines.options import Options
    from penstock.engines.ownership import Ownership
    from penstock.interfaces import Source

PATIENCE = 1.0
"""Seconds between two looks while another process holds the lease."""


def filled_run(options: Options) -> str | None:
    """The name of the run that fills a range in; a scheduler's id makes it another one."""
    if options.range is None:
        return None
    name = "range {}..{}".format(*options.range)
    return name if options.run_id is None else f"{name} as {options.run_id}"


class SourceRun:
    """Runs the source of a landing until it has ended or the place stops.

    Args:
        place: The landing's segment and its surroundings.
        source: What is polled.
        ownership: The leases.
    """

    def __init__(self, place: Place, source: Source, ownership: Ownership) -> None:
        self._place = place
        self._source = source
        self._ownership = ownership
        self._options = place.options
        self._filled = filled_run(place.options)
        self._lease = f"source:{place.segment.name}" + (f" {self._filled}" if self._filled else "")
        self._lost = Stop()
        self.stopped = False
        """Whether it stopped for good, by a fault that waiting does not mend."""
        place.board.add_source(place.segment.name, source.describe())

    def run(self) -> None:
        """Work until the source has ended; the body of its thread. Raises `Refused`."""
        self._ownership.want(self._lease, [0], self.interrupt)
        waits = delays()
        while not self._place.stop.asked:
            try:
                if self._held() and self._ingest():
                    return
                waits = delays()
            except (Unavailable, Fenced) as error:
                self._say(State.WAITING, str(error))
                self._place.stop.wait(next(waits))
                self._place.revive()

    def give_up(self, reason: str) -> None:
        """Say why it stopped for good; the segments go on."""
        self.stopped = True
        self._say(State.STOPPED, reason)

    def interrupt(self) -> None:
        """Look at the lease again, or end."""
        self._lost.set()

    def _held(self) -> bool:
        if self._ownership.owned(self._lease, PATIENCE):
            return True
        if holders := self._ownership.holders(self._lease):
            self._say(State.STANDING_BY, holders)
        return False

    def _ingest(self) -> bool:
        """Land what there is; False when the lease was lost meanwhile."""
        self._lost = Stop()
        if self._place.stop.asked:  # a stop that came before can no longer be heard
            return False
        landing = self._place.systems.landing(self._place.segment)
        clock = StoppableClock(self._lost)
        ingest = Ingest(self._ranged(), landing, clock, self._place.board)
        try:
            if self._filled is not None:
                landing.set_apart(self._filled)
                ingest.once(self._filled)
            elif self._options.run_id is not None:
                ingest.once(self._options.run_id)
            else:
                ingest.run(until_idle=self._options.until_idle)
        except Stopped:
            return False
        finally:
            ingest.leave()
            landing.close()
        return True

    def _ranged(self) -> Source:
        """What is polled: for a range, the source that gives only that."""
        if self._options.range is None or not isinstance(self._source, Ranged):
            return self._source
        return self._source.between(*self._options.range)

    def _say(self, state: State, reason: str) -> None:
        self._place.board.source(self._place.segment.name, state, reason)
