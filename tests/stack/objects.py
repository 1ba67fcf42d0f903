"""A server that speaks S3 (moto), and buckets of it."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.stack.servers import free_ports
from tests.stack.watchdog import watched

HOST = "127.0.0.1"


class Objects:
    """An S3 of the tests' own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://{HOST}:{port}"

    def bucket(self) -> str:
        """Make a bucket; returns its URL."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        assert self._ask("PUT", f"/{name}") == 200
        return self.url(name)

    def url(self, bucket: str, endpoint: str | None = None) -> str:
        """Say how Penstock reaches a bucket, perhaps by another way."""
        return f"s3://test:secret@{bucket}?region=us-east-1&endpoint={endpoint or self.endpoint}"

    def answers(self) -> bool:
        try:
            return self._ask("GET", "/moto-api/") == 200
        except (OSError, HTTPException):
            return False

    def _ask(self, method: str, path: str) -> int:
        connection = HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()


@contextmanager
def started(folder: Path) -> Iterator[Objects]:
    """Run the server until the end of the block; it works in the folder."""
    with watched(folder.resolve()):
        port = free_ports(1)[0]
        command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
        with (folder / "moto.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            made = Objects(port)
            deadline = time.monotonic() + 120
            while not made.answers():
                assert process.poll() is None, (folder / "moto.log").read_text()
                assert time.monotonic() < deadline, "moto does not start"
                time.sleep(0.1)
            yield made
        finally:
            process.kill()
            process.wait(30)
