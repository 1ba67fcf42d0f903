"""What of this machine a crash test may kill: servers that Penstock started, Spark's processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from penstock.profile import Profile
    from penstock.services.postgresql import EmbeddedPostgresql
    from penstock.services.server import Service

EMBEDDED = "the embedded PostgreSQL"
MASTER, WORKER = "Spark's master", "Spark's worker"
EXECUTOR, PYTHON = "an executor of Spark", "the Python of an executor"

_JVM = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
_DAEMON = "pyspark.daemon"

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
    urls += [profile.engine or "", *(store.url for store in profile.stores.values())]
    used = {place for url in urls for place in _places(url)}
    states = [(service, service.status()) for service in services]
    return [
        victim
        for service, state in states
        if state.state == "running" and not used.isdisjoint(_places(state.url))
        for victim in _victims(service)
    ]


def _victims(service: Service) -> Iterator[Victim]:
    if service.name != "spark":
        yield Victim(service.name, lambda: service.status().pid, service.up)
        return
    yield Victim(MASTER, lambda: service.status().pid, service.up)
    yield Victim(WORKER, lambda: service.status().more["workers"][0]["pid"], service.up)


def executors(profile: Profile, folders: Sequence[Path]) -> list[Victim]:
    """Offer the executors of a profile's Spark; Spark itself starts others in their place.

    Args:
        profile: Which Spark.
        folders: Below these they work.
    """
    if not profile.on_spark:
        return []
    found = [Victim(PYTHON, lambda: _process(_DAEMON, folders), lambda: None)]
    if not (profile.engine or "").startswith("local["):
        found.append(Victim(EXECUTOR, lambda: _process(_JVM, folders), lambda: None))
    return found


def _process(word: str, folders: Sequence[Path]) -> int | None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            here = Path(process.cwd())
            if word in process.cmdline() and any(map(here.is_relative_to, folders)):
                return int(process.pid)
    return None


def _places(url: str) -> set[str]:
    """The hosts of a URL with their ports, all written in one way."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].replace("localhost", "127.0.0.1").split(",")
    usual = _PORTS.get(parts.scheme, 0)
    return {host if ":" in host else f"{host}:{usual}" for host in hosts if host}
