"""A way to a server that a test can break: cut, silent, or closed."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """Passes connections on to a server.

    Args:
        url: The server's URL.
        tls: Speak TLS to those who come, with the certificate of this context.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        place = urlsplit(url)
        self._server = (place.hostname or "", place.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._left: int | None = None
        self._refusing = False
        self._ended = False
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self._run(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self.resume()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Break all connections; new ones work."""
        ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def silence(self, after: int = 0) -> None:
        """Pass nothing on any more; connections stay, as with a server that is stopped.

        Args:
            after: Bytes, of either direction, that are passed on before.
        """
        self._left = after
        if not after:
            self._open.clear()

    def refuse(self) -> None:
        """Break all connections, and new ones at once, as with a server that is down."""
        self._refusing = True
        self.cut()

    def resume(self) -> None:
        """Be as at the start."""
        self._refusing = False
        self._left = None
        self._open.set()

    @property
    def is_silent(self) -> bool:
        return not self._open.is_set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._ended or self._refusing:
                client.close()
                continue
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        if self._tls:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                return
        server = socket.create_connection(self._server)
        self._ends += [client, server]
        self._run(self._pass, client, server)
        self._pass(server, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._count(len(data))
                self._open.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _count(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                self._open.clear()

    def _run(self, target: object, *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()
