"""Servers of a test session or of one test: started, stopped, killed and started again."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest
from tests.stack.watchdog import servers_of, watched


class Server:
    """A running server."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.url = ""

    def up(self) -> str:
        """Start it, also after `kill`; its port and data stay. Returns when it answers."""
        without(f"penstock services cannot start {self.name} yet")

    def down(self) -> None:
        """Stop it in order."""

    def kill(self) -> None:
        """SIGKILL, as when a machine loses power."""
        for process in servers_of(str(self.folder)):
            process.kill()
            process.wait(30)

    def stop(self) -> None:
        """SIGSTOP: it answers no more, its connections stay."""
        for process in servers_of(str(self.folder)):
            process.suspend()

    def resume(self) -> None:
        """SIGCONT."""
        for process in servers_of(str(self.folder)):
            process.resume()


class Servers:
    """Starts servers below a folder; all are gone at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        self._stack.enter_context(watched(self._folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, name: str) -> Server:
        """Start one of kafka, registry and cassandra, and wait until it answers."""
        server = Server(name, self._folder / name)
        server.url = server.up()
        self._stack.callback(server.down)
        return server


def without(reason: str) -> NoReturn:
    """Skip a test that lacks its server; where everything must be had, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
