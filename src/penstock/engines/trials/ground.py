"""The ground of a crash test: places where nobody else's data is, and servers to kill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from psycopg import sql

from penstock import pipeline as programs
from penstock.engines.trials import victims
from penstock.filesystems import SCHEMES
from penstock.pipeline.renaming import renamed
from penstock.postgresql import connection
from penstock.profile.apart import VARIABLE, apart
from penstock.services import postgresql as embedded

if TYPE_CHECKING:
    from penstock.engines.trials.victims import Victim
    from penstock.pipeline import Pipeline
    from penstock.profile import Profile

_POSTGRESQL = ("postgresql:", "postgres:")


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
    victims: Mapping[str, Victim]
    databases: Sequence[str]

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


@contextmanager
def laid(
    profile: Profile, folder: Path, namespace: str, servers: Iterable[Victim]
) -> Iterator[Ground]:
    """Make a ground, and remove it at the end of the block.

    Args:
        profile: The systems, as the user has them.
        folder: Of the embedded server; nobody else uses it.
        namespace: What the names of databases, keyspaces and topics shall begin with.
        servers: What may be killed besides the embedded server.

    Raises:
        Refused: A database or keyspace may not be made; the message says where.
        Unavailable: A system cannot be reached.
    """
    own, root = apart(profile, namespace), folder / ".penstock"
    to_kill, databases = [*servers], []
    with ExitStack() as stack:
        if uses_embedded(profile):
            server = embedded.EmbeddedPostgresql(root)
            databases.append(stack.enter_context(server.session()))
            to_kill.append(victims.embedded(server))
        for url, beside in dict(zip(_urls(own), _urls(profile), strict=True)).items():
            stack.enter_context(_made(url, beside, namespace))
            if url.startswith(_POSTGRESQL):
                databases.append(url)
        registries = [profile.registry, *(store.registry for store in profile.stores.values())]
        for registry in dict.fromkeys(filter(None, registries)):
            stack.enter_context(_forgotten(registry, namespace))
        named = {victim.name: victim for victim in to_kill}
        ground = Ground(own, "" if profile.embedded else namespace, root, named, databases)
        stack.callback(ground.revive)  # what is removed must run
        yield ground


def uses_embedded(profile: Profile) -> bool:
    """Whether any system of a profile is the embedded server."""
    return profile.embedded or any(map(embedded.is_embedded, _urls(profile)))


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


def _made(url: str, beside: str, namespace: str) -> AbstractContextManager[None]:
    if url.startswith("kafka:"):
        from penstock.logs.kafka import aside as topics

        return topics.made(url, namespace)
    if url.startswith("cassandra:"):
        from penstock.sinks.cassandra import aside as keyspaces

        return keyspaces.made(url, beside)
    if url.startswith(SCHEMES):
        from penstock.sinks.files import aside as folders

        return folders.made(url)
    return made(url, beside) if url.startswith(_POSTGRESQL) else nullcontext()


@contextmanager
def _forgotten(registry: str, namespace: str) -> Iterator[None]:
    from penstock.serdes.registry import Registry

    try:
        yield
    finally:
        Registry(registry).forget(f"{namespace}_")


def _urls(profile: Profile) -> list[str]:
    return [profile.home, profile.log, *(store.url for store in profile.stores.values())]
