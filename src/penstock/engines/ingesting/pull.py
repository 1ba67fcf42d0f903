"""Runs a source's poll some responses ahead of the landing, on a thread of its own.

So several small responses land in one transaction, a response never waits for the next one, and
a stop does not wait for a source that is blocked in a read.
"""

from __future__ import annotations

from threading import Condition, Thread

from penstock.interfaces import Clock, Cursor, Response, Source

_BYTES_AHEAD = 4 * 1024 * 1024
_RESPONSES_AHEAD = 256


class Pull:
    """One poll of a source, from a cursor to its end.

    Args:
        source: Polled on the thread of this object only.
        cursor: Where the poll begins.
        clock: What the source tells the time and waits by.
    """

    def __init__(self, source: Source, cursor: Cursor, clock: Clock) -> None:
        self._source = source
        self._cursor = cursor
        self._clock = clock
        self._changed = Condition()
        self._ready: list[Response] = []
        self._bytes = 0
        self.error: BaseException | None = None
        self._ended = False
        self._left = False
        self._thread = Thread(target=self._run, name="penstock-pull", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> list[Response] | None:
        """All responses that are ready, in order; waits for the first one.

        Args:
            timeout: Seconds to wait; then the list is empty.

        Returns:
            None when the poll has ended and every response was taken; `error` then holds what
            the source raised, if it did.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended, timeout)
            taken, self._ready, self._bytes = self._ready, [], 0
            self._changed.notify_all()
            return taken if taken or not self._ended else None

    def leave(self) -> None:
        """Take no more: the source's iterator is closed as soon as it yields."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def gone(self, timeout: float) -> bool:
        """Whether the source is left alone, after `timeout` seconds at most.

        Only then may it be polled anew.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        responses = iter(self._source.poll(self._cursor, self._clock))
        try:
            for response in responses:
                if not self._hand_over(response):
                    break
        except BaseException as error:
            self.error = error
        finally:
            close = getattr(responses, "close", None)
            if close is not None:
                close()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hand_over(self, response: Response) -> bool:
        """Wait for room (one response, however large, has always room), then pass it on."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or self._has_room(len(response.body)))
            if not self._left:
                self._ready.append(response)
                self._bytes += len(response.body)
                self._changed.notify_all()
            return not self._left

    def _has_room(self, size: int) -> bool:
        full = len(self._ready) >= _RESPONSES_AHEAD or self._bytes + size > _BYTES_AHEAD
        return not self._ready or not full
