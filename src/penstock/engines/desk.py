"""What a group works with: connections of its own to the log and to home."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.engines.books import Books
    from penstock.engines.feed import Feed
    from penstock.engines.lanes import LaneWriter

MARK = 1.0
"""Seconds after which the log is told again how far the lanes have come."""


@dataclass
class Desk:
    """One group's connections.

    Args:
        feed: The log.
        opening: Home's books for the thread that plans.
        closing: Home's books for the thread that commits.
        another: Makes such connections once more, for a while.
    """

    feed: Feed
    opening: Books
    closing: Books
    another: Callable[[], AbstractContextManager[Desk]]
    _marked: float = field(default=0.0, init=False)

    def mark(self, writers: Iterable[LaneWriter], *, now: bool = False) -> None:
        """Tell the log where lanes stand, when it is due or `now`; on the thread that reads."""
        if now or time.monotonic() - self._marked > MARK:
            self._marked = time.monotonic()
            for writer in writers:
                self.feed.mark(writer.name, writer.starts)
