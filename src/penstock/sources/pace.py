"""Keeps to a rate, by a clock that may jump."""

from __future__ import annotations

from datetime import datetime

from penstock.interfaces import Clock


class Pace:
    """Lets units through at a rate.

    A clock that jumps back costs one wait more, one that jumps ahead gives no more than the burst.

    Args:
        rate: Units per second.
        burst: Seconds that may be made up for when the taker was late.
    """

    def __init__(self, rate: float, burst: float = 0.0) -> None:
        self._rate = rate
        self._burst = burst
        self._last: datetime | None = None
        self._debt = 0.0

    def take(self, clock: Clock, units: int = 1) -> None:
        """Wait until the units taken before are paid for, then take some more."""
        now = clock.now()
        if self._last is not None:
            passed = max((now - self._last).total_seconds(), 0.0)
            self._debt = max(self._debt - passed, -self._burst)
        self._last = now
        if self._debt > 0:
            clock.wait(self._debt)
        self._debt += units / self._rate
