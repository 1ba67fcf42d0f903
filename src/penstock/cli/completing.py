"""What a shell completes: programs, profiles, templates and services. Must be quick and quiet."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SERVICES = ("kafka", "registry", "cassandra", "postgresql", "spark", "hdfs", "embedded")
"""What `penstock services` knows; a test compares."""


def programs(begun: str) -> list[str]:
    """Complete the path of a Python file, folder by folder."""
    folder, slash, start = begun.rpartition("/")
    above = Path(folder + slash) if slash else Path()
    return sorted(f"{folder}{slash}{name}" for name in _names(above.expanduser(), start))


def _names(folder: Path, start: str) -> Iterator[str]:
    with suppress(OSError):
        for entry in folder.iterdir():
            shown = entry.name.startswith(start) and (start or not entry.name.startswith("."))
            if shown and entry.is_dir() and entry.name != "__pycache__":
                yield entry.name + "/"
            elif shown and entry.suffix == ".py":
                yield entry.name


def profiles(begun: str) -> list[str]:
    """Complete a profile's name from penstock.toml here; a file that is wrong has none."""
    found = ["embedded"]
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = tomllib.loads(Path("penstock.toml").read_text(encoding="utf-8"))
        found += dict(document["profiles"])
    return [name for name in found if name.startswith(begun)]


def services(begun: str) -> list[str]:
    """Complete a server's name."""
    return [name for name in SERVICES if name.startswith(begun)]


def templates(begun: str) -> list[tuple[str, str]]:
    """Complete a template's name."""
    from penstock.cli.scaffold import TEMPLATES

    return [(name, why) for name, why in TEMPLATES.items() if name.startswith(begun)]
