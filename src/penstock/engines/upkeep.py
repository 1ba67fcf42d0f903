"""Keeps logs and home small while a pipeline runs: retention, and merging the old ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.engines.stopping import Stop
from penstock.errors import Refused, Unavailable
from penstock.home import programs, upkeep
from penstock.logs import retention

if TYPE_CHECKING:
    from penstock.engines.status import Board
    from penstock.engines.systems import Systems
    from penstock.plan import Segment

EVERY = 30.0
"""Seconds between two rounds; also how far ahead of their writers logs make room."""


class Upkeep:
    """Goes round all logs of a pipeline now and then; several processes may do so at once.

    Args:
        segments: Whose logs.
        systems: Where they are.
        board: Told what retention removed, and what failed.
    """

    def __init__(self, segments: Sequence[Segment], systems: Systems, board: Board) -> None:
        self._segments = segments
        self._systems = systems
        self._board = board

    def run(self, stop: Stop) -> None:
        """Go round until `stop`; the body of its thread."""
        while not stop.wait(EVERY):
            try:
                self.round()
            except (Unavailable, Refused) as error:
                # nothing is lost: the next round does what this one could not
                self._board.say("upkeep", f"upkeep has to wait: {error}", "warning")

    def round(self) -> None:
        """Do everything once."""
        with self._systems.home("upkeep") as home:
            for segment in self._segments:
                url = self._systems.tables_of(segment)
                if url is None:
                    continue
                log = self._systems.log(segment)
                try:
                    partitions, log_id = list(log.spans()), log.identity()
                finally:
                    log.close()
                with home.transaction() as cursor:
                    holds = programs.needed(cursor, log_id, partitions)
                gone = retention.tidy(url, segment.kind, segment.name, holds)
                if gone.records:
                    words = f"retention took {gone.records} records of {segment.name}"
                    self._board.say("retention", words, log=segment.name, records=gone.records)
            with home.transaction() as cursor:
                upkeep.tidy(cursor)
