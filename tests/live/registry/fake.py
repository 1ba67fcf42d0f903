"""A schema registry that a test fills, and that fails as the test says. It speaks real HTTP."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

NOT_FOUND = (404, {"error_code": 40403, "message": "not found"})


class FakeRegistry:
    """Knows schemas by id; `fault` is what it does instead of answering."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.login = ""
        self.refuses = ""
        self.fault: tuple[int, bytes] | None = None
        self.faults = 1 << 30
        self.asked: list[str] = []
        self.path = "/api"
        self.port = 0

    @property
    def url(self) -> str:
        login = f"{self.login}@" if self.login else ""
        return f"http://{login}127.0.0.1:{self.port}{self.path}"

    def add(self, text: str, kind: str = "AVRO", **more: Any) -> int:
        number = len(self.schemas) + 1
        self.schemas[number] = {"schema": text, "schemaType": kind, **more}
        return number

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        kind, _, rest = path.partition("?")[0].strip("/").partition("/")
        if kind == "schemas":
            found = self.schemas.get(int(rest.split("/")[1]))
            return (200, found) if found else NOT_FOUND
        if kind == "config":
            return 200, {"compatibilityLevel": "BACKWARD"}
        subject = rest.split("/")[-3 if kind == "compatibility" else 0]
        if kind == "compatibility":
            words = [self.refuses] if self.refuses else []
            return 200, {"is_compatible": not words, "messages": words}
        return self._subject(method, subject, rest, body)

    def _subject(self, method: str, subject: str, rest: str, body: Any) -> tuple[int, Any]:
        versions = self.subjects.setdefault(subject, [])
        if method == "GET":
            if not versions:
                return 404, {"error_code": 40401, "message": "no such subject"}
            number = versions[-1]
            return 200, {**self.schemas[number], "id": number, "version": len(versions)}
        for number in versions:
            if self.schemas[number]["schema"] == body["schema"]:
                return 200, {"id": number}
        if not rest.endswith("versions"):
            return NOT_FOUND
        if self.refuses:
            return 409, {"error_code": 409, "message": self.refuses}
        versions.append(self.add(body["schema"], body.get("schemaType", "AVRO")))
        return 200, {"id": versions[-1]}


def _handler(registry: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            given = self.rfile.read(length)
            registry.asked.append(f"{self.command} {self.path}")
            if registry.fault is not None and registry.faults > 0:
                registry.faults -= 1
                self._send(*registry.fault)
                return
            login = self.headers.get("authorization", "Basic ").partition(" ")[2]
            if b64decode(login).decode() != registry.login:
                self._send(401, b'{"error_code": 40101, "message": "who are you?"}')
                return
            path = self.path.removeprefix(registry.path)
            status, document = registry.answer(
                self.command, path, json.loads(given) if given else None
            )
            self._send(status, json.dumps(document).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _respond  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(registry: FakeRegistry, tls: ssl.SSLContext | None = None) -> Iterator[FakeRegistry]:
    """Answer until the end of the block; again on the same port the next time."""
    server = ThreadingHTTPServer(("127.0.0.1", registry.port), _handler(registry))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
