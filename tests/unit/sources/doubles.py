"""A server of raw bytes, so that a test decides every byte of an answer; and a clock."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread

Answers = Callable[[str, dict[str, str]], bytes]


class RawServer:
    """Answers each request with what a function of its path and headers returns, then closes."""

    def __init__(self) -> None:
        self.answers: Answers = lambda path, headers: answer(b"{}")
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                path = lines.readline().split()[1].decode()
                headers = {}
                while (line := lines.readline().strip()) != b"":
                    name, _, value = line.decode().partition(": ")
                    headers[name.lower()] = value
                self.asked.append(path)
                connection.sendall(self.answers(path, headers))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def answer(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer; `length` lies about the body's length."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class StepClock:
    """A clock whose time passes only while somebody waits, and that remembers the waits."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.waits: list[float] = []

    def now(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            self.waits.append(seconds)
            self.time += timedelta(seconds=seconds)
