"""The ground of a crash test: places where nobody else's data is, and servers to kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import psutil  # type: ignore[import-untyped]
from psycopg import sql

from penstock import pipeline as programs
from penstock.pipeline.renaming import renamed
from penstock.postgresql import connection
from penstock.profile.apart import VARIABLE, apart
from penstock.services import postgresql as embedded

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.profile import Profile

_POSTGRESQL = ("postgresql:", "postgres:")


@dataclass(frozen=True)
class Victim:
    """A server of this machine that may be killed.

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


@dataclass(frozen=True)
class Ground:
    """Where a round happens.

    Args:
        profile: The systems, with databases and keyspaces of their own.
        namespace: What stands before the names of the pipeline and its topics, too.
        root: Directory of the embedded server.
        victims: What may be killed, by name.
        databases: URLs of every PostgreSQL database that a run works in.
    """

    profile: Profile
    namespace: str
    root: Path
    victims: Mapping[str, Victim] = field(default_factory=dict)
    databases: Sequence[str] = ()

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that make a run of the program happen here."""
        return {VARIABLE: self.namespace, "PENSTOCK_DATA": str(self.root)}

    def load(self, program: Path) -> Pipeline:
        """Load a program, as its runs here do."""
        pipeline = programs.load(program)
        return renamed(pipeline, self.namespace) if self.namespace else pipeline

    def revive(self) -> None:
        """Bring back every server that was killed."""
        for victim in self.victims.values():
            victim.revive()

    def cut(self) -> None:
        """Cut every connection of Penstock's to these databases."""
        for database in self.databases:
            with connection.connect(database, name="crashtest") as session:
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name LIKE 'penstock:%' AND pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )


def servers(profile: Profile) -> list[str]:
    """Name the servers that may be killed."""
    return ["postgresql"] if _uses_embedded(profile) else []


@contextmanager
def laid(profile: Profile, folder: Path, namespace: str) -> Iterator[Ground]:
    """Make a ground, and remove it at the end of the block.

    Args:
        profile: The systems, as the user has them.
        folder: Of the embedded server; nobody else uses it.
        namespace: What the names of databases, keyspaces and topics shall begin with.

    Raises:
        Refused: A database may not be created; the message says where.
        Unavailable: A system cannot be reached.
    """
    own, root = apart(profile, namespace), folder / ".penstock"
    places = dict(zip(_urls(own), _urls(profile), strict=True))
    databases = [url for url in places if url.startswith(_POSTGRESQL)]
    victims: list[Victim] = []
    with ExitStack() as stack:
        if _uses_embedded(profile):
            server = embedded.EmbeddedPostgresql(root)
            stack.enter_context(server.session())
            victims.append(_embedded(server))
            databases.append(server.url)
        for url in databases:
            if url in places:
                stack.enter_context(made(url, places[url]))
        yield Ground(
            own,
            "" if profile.embedded else namespace,
            root,
            {victim.name: victim for victim in victims},
            databases,
        )


@contextmanager
def made(url: str, beside: str) -> Iterator[None]:
    """Make a PostgreSQL database, and drop it at the end of the block.

    Args:
        url: Of the database to make.
        beside: URL of another one on the same server.

    Raises:
        Refused: The role may not create databases.
        Unavailable: The server cannot be reached.
    """
    name = sql.Identifier(unquote(urlsplit(url).path.removeprefix("/")))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name)
    with connection.connect(beside, name="crashtest") as session, connection.errors():
        session.execute(drop)
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))
    try:
        yield
    finally:
        with connection.connect(beside, name="crashtest") as session, connection.errors():
            session.execute(drop)


def _uses_embedded(profile: Profile) -> bool:
    return profile.embedded or any(map(embedded.is_embedded, _urls(profile)))


def _embedded(server: embedded.EmbeddedPostgresql) -> Victim:
    return Victim(server.name, lambda: server.status().pid, server.ensure)


def _urls(profile: Profile) -> list[str]:
    return [profile.home, profile.log, *(store.url for store in profile.stores.values())]
