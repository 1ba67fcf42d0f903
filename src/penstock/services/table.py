"""Which servers there are: a new one is a recipe and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.errors import ProfileError
from penstock.services import settings
from penstock.services.cassandra import Cassandra
from penstock.services.kafka import Kafka
from penstock.services.registry import Registry
from penstock.services.server import Server

_RECIPES = {recipe.name: recipe for recipe in (Kafka, Registry, Cassandra)}
NAMES = tuple(_RECIPES)


def get(
    name: str,
    table: Mapping[str, Any] | None = None,
    *,
    root: Path = Path(".penstock"),
    mirror: str | None = None,
) -> Server:
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
    if name not in _RECIPES:
        raise ProfileError(f"there is no service {name!r}; there are {', '.join(NAMES)}")
    recipe = _RECIPES[name]
    wanted = settings.read(name, table or {}, recipe.defaults, root / name)
    return Server(recipe(wanted, mirror), wanted)
