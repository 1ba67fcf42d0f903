"""A segment's replay log: dead letters that were sent back, read as one more partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.interfaces import Limits, Span
from penstock.plan import MicroBatch

if TYPE_CHECKING:
    from penstock.home.database import Home


class ReplayLog:
    """Reads what `deadletters replay` appended for one segment."""

    def __init__(self, home: Home, pipeline: str, segment: str, log_id: str) -> None:
        self._home = home
        self._of = (pipeline, segment, log_id)

    def end(self) -> int:
        """The next offset to be given."""
        return 0

    def read(self, start: int, limits: Limits) -> MicroBatch:
        """Read from `start` on."""
        return self.reread(Span(start, min(self.end(), start + limits.records)))

    def reread(self, span: Span) -> MicroBatch:
        """Read exactly this span."""
        raise NotImplementedError
