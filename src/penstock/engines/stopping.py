"""Asking threads to stop, and waiting in a way that hears it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event

from penstock.faults import Stopped

_FIRST = 0.2
_LONGEST = 10.0


class Stop:
    """Set once; every thread of a run looks at it."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """Ask all to stop."""
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether all shall stop."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, shorter when asked to stop; says whether."""
        return self._event.wait(seconds)


class StoppableClock:
    """The clock of sources: its `wait` ends at once when the engine stops."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def now(self) -> datetime:
        """Tell the time, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """Sleep; raises `Stopped` when the engine is stopping."""
        if self._stop.wait(seconds):
            raise Stopped


def delays() -> Iterator[float]:
    """Seconds to wait between attempts: longer each time, never quite the same."""
    delay = _FIRST
    while True:
        yield delay * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
        delay = min(delay * 2, _LONGEST)
