"""Opening home for commands that need no program."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock import profile
from penstock.cli import options
from penstock.engines.systems import Systems
from penstock.errors import Refused
from penstock.home import programs
from penstock.home.database import Home


@contextmanager
def opened(profile_name: str) -> Iterator[Home]:
    """Connect to a profile's home; the embedded PostgreSQL runs meanwhile.

    Raises:
        Refused: Nothing has run here yet.
        Unavailable: Home is away.
    """
    with entered(profile_name, "") as systems, systems.home("command") as home:
        yield home


@contextmanager
def entered(profile_name: str, pipeline: str) -> Iterator[Systems]:
    """Enter a profile's systems, where something has run already; raises as `opened` does."""
    settings = profile.load(name=profile_name)
    data = options.data()
    systems = Systems(settings, pipeline, data)
    if systems.uses_embedded and not data.exists():
        raise Refused(
            f"nothing has run in {Path.cwd()}: it has no {data} folder. Go to the folder of the "
            "program, or name a profile with --profile"
        )
    with systems:
        yield systems


def only_pipeline(home: Home, asked: str | None) -> str:
    """Return the pipeline that a command is about: the one asked for, or the only one.

    Raises:
        Refused: Home does not know it, or knows several and none was named.
    """
    with home.transaction() as cursor:
        known = programs.pipelines(cursor)
    if asked is None and len(known) == 1:
        return known[0]
    if asked in known:
        return asked
    names = ", ".join(known) or "none yet"
    if asked is None:
        raise Refused(f"home knows these pipelines: {names}. Name one with --pipeline")
    raise Refused(f"home knows no pipeline {asked!r}; it knows {names}")


def person() -> str:
    """Name who gives the command, for the record."""
    return getpass.getuser()
