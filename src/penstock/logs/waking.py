"""Waits for a log to grow: blocks on the server's notifications, without polling."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from penstock.postgresql import connection


class Waker:
    """Listens on a channel. One thread calls `wait`; `wake` may be called from any thread.

    Args:
        url: Of the database.
        channel: What to listen on.
    """

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._session: psycopg.Connection[Any] | None = None
        self._woken, self._bell = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._bell, False)

    def wait(self, grown: Callable[[], bool], timeout: float) -> bool:
        """Block until `grown` says so; False after `timeout` seconds or a `wake`.

        Raises:
            Unavailable: The connection is lost.
        """
        deadline = time.monotonic() + timeout
        with connection.errors():
            listening = self._listen()
            # Looked at only once we listen, so that no notification is missed in between.
            while not grown():
                left = deadline - time.monotonic()
                if left <= 0 or self._rings(listening, left):
                    return False
                for _ in listening.notifies(timeout=0):
                    pass
        return True

    def wake(self) -> None:
        """Make a blocked `wait`, or else the next one, return."""
        with contextlib.suppress(BlockingIOError):  # it is full of rings already
            os.write(self._bell, b"!")

    def close(self) -> None:
        """Disconnect."""
        if self._session:
            self._session.close()
        os.close(self._woken)
        os.close(self._bell)

    def _listen(self) -> psycopg.Connection[Any]:
        if self._session is None or self._session.closed:
            self._session = connection.connect(self._url, name="wait")
            self._session.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        return self._session

    def _rings(self, listening: psycopg.Connection[Any], seconds: float) -> bool:
        ready, _, _ = select.select([listening.fileno(), self._woken], [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 4096)
            return True
        return False
