"""The lock: which files each service is made of, with their sizes and SHA-256."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from penstock.errors import Refused

FILE = "lock.toml"


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository.

    Args:
        coordinates: `group:artifact:version[:classifier][@extension]`; the extension is `jar`
            unless it is said.
        size: In bytes.
        sha256: In hexadecimal.
    """

    coordinates: str
    size: int
    sha256: str

    @property
    def path(self) -> str:
        """Where it is, in a repository and in the cache."""
        names, _, extension = self.coordinates.partition("@")
        group, artifact, version, *classifier = names.split(":")
        file = "-".join([artifact, version, *classifier])
        return f"{group.replace('.', '/')}/{artifact}/{version}/{file}.{extension or 'jar'}"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Group:
    """What one service is made of.

    Args:
        wanted: The coordinates that were asked for.
        transitive: Whether their dependencies belong to it.
        files: What that came to when the lock was renewed.
        fits: The Python package that they belong to, and the minor version that it must have,
            such as `pyspark 4.2`.
    """

    wanted: tuple[str, ...]
    transitive: bool
    files: tuple[Artifact, ...]
    fits: str = ""


@cache
def read() -> Mapping[str, Group]:
    """Read the lock: the groups, by the service's name."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return {
        name: Group(
            tuple(table["wanted"]),
            table["transitive"],
            tuple(Artifact(*entry) for entry in table["files"]),
            table.get("fits", ""),
        )
        for name, table in tomllib.loads(text).items()
    }


def group(name: str) -> Group:
    """Return what a service is made of.

    Raises:
        Refused: The lock has no such service.
    """
    groups = read()
    if name not in groups:
        raise Refused(f"there are no files for {name!r}; there are some for {', '.join(groups)}")
    return groups[name]
