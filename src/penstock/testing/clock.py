"""A clock that a test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """Stands still until it is told to move; implements `interfaces.Clock`.

    Waiting moves it at once, and `waited` remembers for how long.

    Args:
        now: Where it starts.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self.waited: list[float] = []

    def now(self) -> datetime:
        return self._now

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock, back when `seconds` is negative."""
        self._now += timedelta(seconds=seconds)
