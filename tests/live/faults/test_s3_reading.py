"""`Files` on a real S3 server that goes away, answers 503 and falls silent in mid download."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.stack.objects import Objects
from tests.stack.proxy import Proxy

from penstock.errors import Unavailable
from penstock.filesystems import open_url
from penstock.filesystems import s3 as objects
from penstock.interfaces import Response
from penstock.sources import whole
from penstock.sources.files import Files
from penstock.testing.clock import ManualClock

LINES = [b'{"n":%d,"text":"%s"}\n' % (n, b"x" * 80) for n in range(20_000)]
CONTENT = b"".join(LINES)


def bucket_of(url: str) -> str:
    return url.partition("@")[2].partition("?")[0]


def source(url: str, wanted: str, **options: Any) -> Files:
    head, _, query = url.partition("?")
    return Files(f"{head}/{wanted}?{query}", **options)


class Reader:
    def __init__(self, files: Files) -> None:
        self.files = files
        self.cursor: Any = None
        self.landed: list[Response] = []

    def poll(self, most: int = 1_000_000) -> int:
        responses = self.files.poll(self.cursor, ManualClock())
        for number, response in enumerate(responses):
            if number == most:
                return number
            self.landed.append(response)
            self.cursor = json.loads(json.dumps(response.cursor))
        return 0

    @property
    def content(self) -> bytes:
        return b"".join(r.body for r in self.landed)


@contextmanager
def failing_now_and_then(endpoint: str) -> Iterator[str]:
    """A server before the server, that answers every third request with 503."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    requests = iter(range(1, 1_000_000))

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(65536)):
                    return
                head += data
            if next(requests) % 3 == 0:
                said = b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
                client.sendall(
                    b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(said), said)
                )
                return
            first, _, rest = head.partition(b"\r\n")
            server.sendall(first + b"\r\nConnection: close\r\n" + rest)
            while data := server.recv(65536):
                client.sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(client,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for thread in threads:
            thread.join(10)


def test_objects_are_read_once_whatever_dies_on_the_way(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_READ", 512 * 1024)
    files = open_url(s3_bucket)
    files.write("in/a.ndjson", [CONTENT])
    files.write("in/b.ndjson", [b'{"n":-1}\n'])
    files.write("in/_hidden.ndjson", [b"no\n"])
    reader = Reader(source(s3_bucket, "in/*.ndjson", every=1))
    while reader.poll(most=2):
        pass
    assert reader.content == CONTENT + b'{"n":-1}\n'
    files.write("in/a.ndjson", [CONTENT + b'{"n":-2}\n'])
    files.write("in/c.ndjson", [b'{"n":-3}\n'])
    reader.poll()
    assert reader.content == CONTENT + b'{"n":-1}\n{"n":-2}\n{"n":-3}\n'


def test_an_object_that_is_replaced_in_mid_read_is_never_mixed(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_READ", 512 * 1024)
    files = open_url(s3_bucket)
    files.write("a", [CONTENT])
    reader = Reader(source(s3_bucket, "a"))
    reader.poll(most=1)
    other = CONTENT.replace(b"x", b"y")
    responses = reader.files.poll(reader.cursor, ManualClock())
    next(iter(responses))
    files.write("a", [other])
    with pytest.raises(Unavailable, match="was changed while it was read"):
        list(responses)
    reader.poll()
    assert reader.content.endswith(other)
    assert all(len({b"xx" in r.body, b"yy" in r.body}) == 2 for r in reader.landed)
    assert reader.landed[1].headers["note"] == "was replaced; read from its beginning"


def test_a_server_that_is_busy_now_and_then(s3: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_READ", 256 * 1024)
    url = s3.bucket()
    open_url(url).write("a", [CONTENT])
    with failing_now_and_then(s3.endpoint) as endpoint:
        reader = Reader(source(s3.url(bucket_of(url), endpoint), "a"))
        for _ in range(50):
            try:
                reader.poll()
            except Unavailable:
                continue
            break
    assert reader.content == CONTENT


def test_a_server_that_goes_away_in_mid_download(
    s3: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_READ", 256 * 1024)
    url = s3.bucket()
    open_url(url).write("a", [CONTENT])
    with Proxy(s3.endpoint) as proxy:
        reader = Reader(source(s3.url(bucket_of(url), f"http://127.0.0.1:{proxy.port}"), "a"))
        reader.poll(most=1)
        proxy.refuse()
        with pytest.raises(Unavailable) as caught:
            reader.poll()
        assert "secret" not in str(caught.value)
        proxy.resume()
        reader.poll()
    assert reader.content == CONTENT


def test_a_server_that_falls_silent_in_mid_download(
    s3: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the connection and says nothing: noticed by time alone."""
    monkeypatch.setattr(whole, "_READ", 512 * 1024)
    url = s3.bucket()
    open_url(url).write("a", [CONTENT])
    with Proxy(s3.endpoint) as proxy:
        reader = Reader(source(s3.url(bucket_of(url), f"http://127.0.0.1:{proxy.port}"), "a"))
        reader.poll(most=1)
        landed = len(reader.content)
        assert 0 < landed < len(CONTENT) - 1024 * 1024
        proxy.silence(after=1_100_000)
        began = time.monotonic()
        with monkeypatch.context() as short:
            short.setattr(objects, "_ANSWER", timedelta(seconds=4))
            short.setattr(objects, "_HICCUP", timedelta(seconds=2))
            with pytest.raises(Unavailable) as caught:
                reader.poll()
        assert proxy.is_silent
        assert time.monotonic() - began < 60
        assert "secret" not in str(caught.value)
        assert landed < len(reader.content) < len(CONTENT)
        proxy.resume()
        reader.poll()
    assert reader.content == CONTENT
