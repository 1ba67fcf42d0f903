"""Which servers there are: a new one is a recipe and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.errors import ProfileError
from penstock.services import artifacts, java, jvm, settings, spark
from penstock.services.cassandra import Cassandra
from penstock.services.embedded import Embedded
from penstock.services.hdfs import Hdfs
from penstock.services.kafka import Kafka
from penstock.services.postgresql_tcp import PostgresqlTcp
from penstock.services.registry import Registry
from penstock.services.server import Server, Service
from penstock.services.spark import Spark

_RECIPES = {recipe.name: recipe for recipe in (Kafka, Registry, Cassandra)}

STACK = (*_RECIPES, PostgresqlTcp.name)
"""What `penstock services up` starts."""

NAMES = (*STACK, Spark.name, Hdfs.name, Embedded.name)
"""All of them. Spark needs more than the wheels bring, and not everyone wants HDFS: both are
started only by their names."""


def get(
    name: str,
    table: Mapping[str, Any] | None = None,
    *,
    root: Path = Path(".penstock"),
    mirror: str | None = None,
) -> Service:
    """Return a server by its name, to start, stop or look at.

    Args:
        name: One of `NAMES`.
        table: Its settings, as under `[services.NAME]`.
        root: The folder for the folders of the servers that have no `data` set.
        mirror: Base URL of a Maven repository for what it is made of.

    Raises:
        ProfileError: There is no such server, or a setting is wrong.

    Example:
        >>> get("kafka", {"port": 19092, "memory": "256m"}).up()
        'kafka://127.0.0.1:19092'
    """
    if name not in NAMES:
        raise ProfileError(f"there is no service {name!r}; there are {', '.join(NAMES)}")
    if name == Embedded.name:
        if table:
            raise ProfileError(
                f"[services.{name}] is not needed: the {name} PostgreSQL has no settings"
            )
        return Embedded(root)
    if name == PostgresqlTcp.name:
        return PostgresqlTcp(settings.read(name, table or {}, PostgresqlTcp.defaults, root))
    if name == Spark.name:
        return spark.get(table or {}, root)
    if name == Hdfs.name:
        return Hdfs(settings.read(name, table or {}, Hdfs.defaults, root), mirror)
    recipe = _RECIPES[name]
    wanted = settings.read(name, table or {}, recipe.defaults, root)
    return Server(recipe(wanted, mirror), wanted)


def several(names: Sequence[str], tables: Mapping[str, Any], root: Path) -> list[Service]:
    """Return servers by their names.

    Args:
        names: Some of `NAMES`.
        tables: What `[services]` of penstock.toml holds: a table for each server, and `mirror`.
        root: As in `get`.

    Raises:
        ProfileError: There is no such server, or a setting is wrong.
    """
    if strange := set(tables) - {*NAMES, "mirror"}:
        raise ProfileError(
            f"[services] has an unknown setting {sorted(strange)[0]!r}; "
            f"there are {', '.join(NAMES)} and mirror"
        )
    mirror = tables.get("mirror")
    return [get(name, tables.get(name), root=root, mirror=mirror) for name in dict.fromkeys(names)]


def fetch(services: Sequence[Service], tables: Mapping[str, Any]) -> None:
    """Fetch at once what those servers are made of that do not run, so that each can start.

    Args:
        services: The servers.
        tables: As in `several`.

    Raises:
        Unavailable: The repository cannot be reached, or the disk is full.
        Refused: There is no Java, or the repository lacks a file or has a wrong one.
    """
    java_servers = [s for s in services if isinstance(s, Server | Spark | Hdfs)]
    gone = [s.name for s in java_servers if s.status().state in {"stopped", "died"}]
    for name in gone:  # said before anything is fetched
        _ = java.for_spark() if name == Spark.name else java.find(minimum=jvm.OLDEST)
    artifacts.ensure(gone, mirror=tables.get("mirror"))
