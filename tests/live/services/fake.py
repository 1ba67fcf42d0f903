"""A server that needs no Java: it says hello on its port, or misbehaves as told."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from penstock.services.daemon import Launch
from penstock.services.server import Server
from penstock.services.settings import Settings

PROGRAM = """
import signal, socket, sys, time
port, manner = int(sys.argv[1]), sys.argv[2]
print("INFO begin", manner, flush=True)
if manner == "broken":
    sys.exit("ERROR the data is damaged: page 7\\nINFO shutting down")
if manner == "killed":
    import os
    os.kill(os.getpid(), signal.SIGKILL)
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if manner == "silent":
    time.sleep(600)
with socket.create_server(("127.0.0.1", port)) as listening:
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"hello")
"""


class Fake:
    """The recipe of the fake server."""

    name = "fake"

    def __init__(self, port: int, manner: str) -> None:
        self._port, self._manner = port, manner

    @property
    def url(self) -> str:
        return f"fake://127.0.0.1:{self._port}"

    @property
    def ports(self) -> Mapping[str, int]:
        return {"port": self._port}

    def prepare(self) -> Launch:
        return Launch([sys.executable, "-c", PROGRAM, str(self._port), self._manner])

    def ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.settimeout(5)
                return connection.recv(5) == b"hello"
        except OSError:
            return False


def fake(home: Path, port: int, manner: str = "good", timeout: float = 60) -> Server:
    return Server(Fake(port, manner), Settings(port, port + 1, "1m", home, timeout))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """Something else that listens on a port and never says a word."""
    with socket.create_server(("127.0.0.1", port)):
        yield
