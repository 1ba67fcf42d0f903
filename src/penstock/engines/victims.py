"""Servers of this machine that a crash test may kill: those that Penstock started here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from penstock.profile import Profile
    from penstock.services.postgresql import EmbeddedPostgresql
    from penstock.services.server import Service

EMBEDDED = "the embedded PostgreSQL"

_PORTS = {"postgresql": 5432, "postgres": 5432, "kafka": 9092, "cassandra": 9042, "http": 80}


@dataclass(frozen=True)
class Victim:
    """A server that may be killed.

    Args:
        name: What it is.
        pid: Tells its process, None when it does not run.
        revive: Starts it again and waits until it answers; nothing happens if it runs.
    """

    name: str
    pid: Callable[[], int | None]
    revive: Callable[[], object]

    def kill(self) -> None:
        """SIGKILL of the server and all its children, as when a machine loses power."""
        pid = self.pid()
        if pid is None:
            return
        server = psutil.Process(pid)
        for process in [server, *server.children(recursive=True)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def embedded(server: EmbeddedPostgresql) -> Victim:
    """Offer the embedded server of a round."""
    return Victim(EMBEDDED, lambda: server.status().pid, server.ensure)


def among(services: Iterable[Service], profile: Profile) -> list[Victim]:
    """Choose the running services that a profile uses."""
    urls = [profile.home, profile.log, profile.registry or ""]
    urls += [store.url for store in profile.stores.values()]
    used = {place for url in urls for place in _places(url)}
    states = [(service, service.status()) for service in services]
    return [
        _service(service)
        for service, state in states
        if state.state == "running" and not used.isdisjoint(_places(state.url))
    ]


def _service(service: Service) -> Victim:
    return Victim(service.name, lambda: service.status().pid, service.up)


def _places(url: str) -> set[str]:
    """The hosts of a URL with their ports, all written in one way."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].replace("localhost", "127.0.0.1").split(",")
    usual = _PORTS.get(parts.scheme, 0)
    return {host if ":" in host else f"{host}:{usual}" for host in hosts if host}
