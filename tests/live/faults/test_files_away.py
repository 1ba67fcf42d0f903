"""Stores of files in trouble: the lane waits, and nothing is lost or doubled."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.live.faults.test_full_disk import disk, fill
from tests.live.project import Project
from tests.stack.objects import Objects
from tests.stack.servers import Servers

from penstock.filesystems import open_url

__all__ = ["disk"]

PROGRAM = """
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    note: str

pipeline = ps.Pipeline("shop")
pipeline.topic("orders", Order).sink("orders", store="lake", mode="append")
"""
MANY = 3000


class Moody(http.server.BaseHTTPRequestHandler):
    """Passes on to an S3, and is out of sorts every now and then."""

    protocol_version = "HTTP/1.1"
    target: tuple[str, int]
    count = 0

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).count += 1
        mood = type(self).count % 7
        if mood == 3:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>", {})
            return
        onward = http.client.HTTPConnection(*self.target, timeout=60)
        try:
            onward.request(self.command, self.path, body, dict(self.headers.items()))
            answer = onward.getresponse()
            data = answer.read()
        finally:
            onward.close()
        if mood == 5 and self.command == "PUT":
            self.close_connection = True  # it was done, and the answer is lost
            return
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in _OWN}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        self._answer(answer.status, data, kept)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


_OWN = {"content-length", "transfer-encoding", "connection", "date", "server"}


@pytest.fixture
def moody(s3: Objects) -> Iterator[str]:
    handler = type("Handler", (Moody,), {"target": ("127.0.0.1", s3.port)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(30)


def project(path: Path, database: str, lake: str, more: str = "") -> Project:
    made = Project(path, database, {"lake": lake})
    made.write(PROGRAM)
    values = [json.dumps({"id": n, "note": f"note {n}"}).encode() for n in range(MANY)]
    made.produce("orders", values)
    file = path / "penstock.toml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith('"lake"')]
    lines.append(f'lake = {{ url = "{lake}", tables.orders = {{ rows = 300 {more} }} }}')
    file.write_text("\n".join(lines) + "\n")
    return made


def ids(lake: str) -> list[int]:
    files = open_url(lake)
    names = [e.name for e in files.list("orders") if e.name.endswith(".parquet")]
    rows = [pl.read_parquet(files.read(name))["id"] for name in names]
    return sorted(pl.concat(rows).to_list()) if rows else []


def test_s3_that_answers_503_and_loses_answers(
    tmp_path: Path, database: str, s3: Objects, moody: str
) -> None:
    bucket = s3.bucket().partition("@")[2].partition("?")[0]
    made = project(tmp_path, database, s3.url(f"{bucket}/lake", moody))
    made.run()
    made.balance()
    assert ids(s3.url(f"{bucket}/lake")) == list(range(MANY))
    left = [e.name for e in open_url(s3.url(bucket)).list() if e.name.endswith(".staged")]
    assert left == []


def test_a_full_disk_of_the_lake_is_waited_for(tmp_path: Path, database: str, disk: Path) -> None:
    made = project(tmp_path, database, (disk / "lake").as_uri())
    ballast = disk / "ballast"
    fill(ballast)
    process = made.start("run", "program.py", "--until-idle")
    time.sleep(5)
    assert process.poll() is None, "it waits while there is no room"
    ballast.unlink()
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    assert b"make room" in out + err
    made.balance()
    assert ids((disk / "lake").as_uri()) == list(range(MANY))


@pytest.mark.timeout(600)
def test_hdfs_whose_datanode_and_namenode_are_killed(
    tmp_path: Path, database: str, own_servers: Servers
) -> None:
    server = own_servers.start("hdfs")
    lake = f"{server.url}/lake"
    made = project(tmp_path, database, lake)
    process = made.start("run", "program.py", "--until-idle")
    deadline = time.monotonic() + 100
    while not ids(lake):
        assert process.poll() is None
        assert time.monotonic() < deadline
    server.kill("datanode")
    server.up()
    server.kill("namenode")
    server.up()
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, out + err
    made.balance()
    assert ids(lake) == list(range(MANY))
