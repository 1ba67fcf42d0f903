"""A Maven repository on 127.0.0.1 that can be as bad as real ones are."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from penstock.services.artifacts.lock import Artifact, Group

Answer = Callable[["Handler", bytes], None]


class Repository:
    """Serves files; `answers` holds what to do instead, for the next requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: list[Answer] = []
        self.ranges: list[tuple[str, str | None]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"of": self}))
        self.server.daemon_threads = True
        self.server.block_on_close = False
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/maven2"

    @property
    def asked(self) -> list[str]:
        return sorted(path for path, _ in self.ranges)

    def add(self, coordinates: str, content: bytes) -> Artifact:
        artifact = Artifact(coordinates, len(content), hashlib.sha256(content).hexdigest())
        self.files[artifact.path] = content
        return artifact


class Handler(BaseHTTPRequestHandler):
    of: Repository
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/maven2/")
        with self.of.lock:
            self.of.ranges.append((path, self.headers["Range"]))
            answer = self.of.answers.pop(0) if self.of.answers else whole
        answer(self, self.of.files.get(path, b""))

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def whole(handler: Handler, content: bytes) -> None:
    if not content:
        return handler.head(404, 0)
    start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
    if not start:
        handler.head(200, len(content))
    elif start < len(content):
        said = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206, len(content) - start, Content_Range=said)
    else:
        return handler.head(416, 0)
    handler.wfile.write(content[start:])
    return None


def without_ranges(handler: Handler, content: bytes) -> None:
    handler.head(200, len(content))
    handler.wfile.write(content)


def cut_after(number: int) -> Answer:
    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, len(content))
        handler.wfile.write(content[:number])
        handler.close_connection = True

    return answer


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: Handler, content: bytes) -> None:
        handler.head(status, len(body), **headers)
        handler.wfile.write(body)

    return answer


def stalls_after(number: int) -> Answer:
    """Send so many bytes, then nothing, but keep the connection until the repository closes."""

    def answer(handler: Handler, content: bytes) -> None:
        handler.head(200, len(content))
        handler.wfile.write(content[:number])
        handler.wfile.flush()
        handler.of.closing.wait()
        handler.close_connection = True

    return answer


def drips(handler: Handler, content: bytes) -> None:
    """Send a byte every now and then."""
    handler.head(200, len(content))
    for number in range(len(content)):
        try:
            handler.wfile.write(content[number : number + 1])
        except OSError:
            break
        if handler.of.closing.wait(0.02):
            break
    handler.close_connection = True


def group(*artifacts: Artifact) -> Group:
    return Group((), transitive=False, files=artifacts)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Repository]:
    repository = Repository(tls)
    thread = threading.Thread(target=repository.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield repository
    finally:
        repository.closing.set()
        repository.server.shutdown()
        repository.server.server_close()
        thread.join()
