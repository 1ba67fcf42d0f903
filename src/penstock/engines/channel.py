"""A bounded queue between two threads: full, it stops its producer; that is the backpressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosed(Exception):
    """The consumer left: the producer should end."""


class Channel(Generic[T]):
    """One producer, one consumer. Errors travel downstream, a leaving consumer stops upstream.

    Args:
        size: How many items may wait.
    """

    def __init__(self, size: int = 1) -> None:
        self._items: deque[T] = deque()
        self._size = size
        self._changed = Condition()
        self._ended = False
        self._left = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Wait for room and add an item; raises `ChannelClosed` when the consumer has left."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or len(self._items) < self._size)
            if self._left:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def ready(self) -> bool:
        """Whether an item waits."""
        return bool(self._items)

    def room(self, timeout: float | None = None) -> bool:
        """Wait until the consumer took everything (or left); False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._left or not self._items, timeout)

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more comes; the consumer gets what waits, then `error` if any."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def leave(self) -> None:
        """The consumer takes no more."""
        with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    def fed(self, name: str, work: Callable[[], None]) -> Thread:
        """Run the producer on a thread of its own; its end or error travels down the channel."""

        def run() -> None:
            try:
                work()
            except ChannelClosed:
                self.end()
            except BaseException as error:
                self.end(error)
            else:
                self.end()

        thread = Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def __iter__(self) -> Iterator[T]:
        """Take items until the end; raises the producer's error."""
        while (taken := self._take()) is not None:
            yield taken[0]

    def _take(self) -> tuple[T] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)
            if self._items:
                self._changed.notify_all()
                return (self._items.popleft(),)
            if self._error is not None:
                raise self._error
            return None
