"""Servers of a test session or of one test: started, stopped, killed and started again."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]
import pytest
from tests.stack.watchdog import servers_of, watched

from penstock.errors import PenstockError
from penstock.services import artifacts, java, table

_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, so that a server finds its own free
again after a kill."""

_FILES: Mapping[str, Callable[[str], object]] = {
    "kafka": artifacts.classpath,
    "cassandra": artifacts.classpath,
    "registry": artifacts.unpacked,
    "hdfs": artifacts.classpath,
    "spark": artifacts.classpath,
}


class Server:
    """A server of the tests' own."""

    def __init__(self, name: str, root: Path, settings: Mapping[str, Any]) -> None:
        port, internal, *_ = free_ports(4)  # the last two are for workers of Spark
        self.name = name
        self.settings = {"port": port, "internal_port": internal, "timeout": "5m", **settings}
        self.service = table.get(name, self.settings, root=root)
        self.folder = self.service.status().data
        self.url = self.service.up()

    def up(self) -> None:
        """Start it again after `down` or `kill`, with its port and data; wait until it answers."""
        self.service.up()

    def down(self) -> None:
        """Stop it in order."""
        self.service.down()

    def kill(self, part: str = "") -> None:
        """SIGKILL, as when a machine loses power.

        Args:
            part: Only a part of Spark: `master`, `worker-1`, `worker-1/work` for its executors.
        """
        for process in servers_of(self.folder / part):
            with suppress(psutil.NoSuchProcess):  # gone with one that was killed before it
                process.kill()
            process.wait(30)

    def stop(self) -> None:
        """SIGSTOP: it answers no more, its connections stay."""
        for process in servers_of(self.folder):
            process.suspend()

    def resume(self) -> None:
        """SIGCONT."""
        for process in servers_of(self.folder):
            process.resume()


class Servers:
    """Starts servers below a folder; all are gone at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        self._stack.enter_context(watched(self.folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(self, name: str, **settings: Any) -> Server:
        """Start one of kafka, registry, cassandra, postgresql, spark, hdfs; wait until it answers.

        Args:
            name: Which.
            settings: As under `[services.NAME]`, such as `memory="1g"`.
        """
        require(name)
        return Server(name, self.folder, settings)


def require(*names: str) -> None:
    """Skip the test where these servers cannot be had."""
    try:
        for name in _FILES.keys() & {*names}:
            _ = java.for_spark() if name == "spark" else java.find(21)
            _FILES[name](name)
    except PenstockError as error:
        without(f"this needs {', '.join(names)}: {error}")


def without(reason: str) -> NoReturn:
    """Skip a test that lacks its server; where everything must be had, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Ports in a row that were free a moment ago."""
    while True:
        first = random.choice(_PORTS)
        found = list(range(first, first + count))
        if all(map(_is_free, found)):
            return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
