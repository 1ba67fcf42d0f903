"""Ports of 127.0.0.1: whether one is free, and who has it."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil  # type: ignore[import-untyped]

from penstock.errors import Refused

HOST = "127.0.0.1"


def require_free(port: int, setting: str) -> None:
    """Make sure that a server can listen on a port.

    Args:
        port: The port of 127.0.0.1.
        setting: The setting to change if it is taken.

    Raises:
        Refused: Somebody listens there, or this user may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(
                    f"port {port} is taken by {holder(port)}; stop that, "
                    f"or set {setting} to another port in penstock.toml"
                ) from None
            raise Refused(
                f"port {port} cannot be used: {error.strerror}; "
                f"set {setting} to another port in penstock.toml"
            ) from None


def holder(port: int) -> str:
    """Say in words which process listens on a port, as far as this user can see it."""
    unseen = "a process that cannot be seen from here"
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if listens and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return unseen
