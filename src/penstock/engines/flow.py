"""Counts the micro-batches under way, so that small ones are not queued up behind one another."""

from __future__ import annotations

from threading import Condition

from penstock.engines.channel import ChannelClosed

DEEP = 2
"""Micro-batches under way at once while the lanes are behind."""


class Flow:
    """Between what plans micro-batches and what commits them. Thread-safe."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._count = 0
        self._abandoned = False

    def admit(self, most: int, timeout: float | None = None) -> bool:
        """Wait until fewer than `most` are under way; False after `timeout` seconds.

        Raises:
            ChannelClosed: Nobody commits any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._count < most, timeout)
            if self._abandoned:
                raise ChannelClosed
            return self._count < most

    def started(self) -> None:
        """One more is under way."""
        with self._changed:
            self._count += 1

    def finished(self) -> None:
        """One is visible; one that was recovered had never been started."""
        with self._changed:
            self._count = max(0, self._count - 1)
            self._changed.notify_all()

    def abandon(self) -> None:
        """Admit no more."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
