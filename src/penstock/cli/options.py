"""Options that several commands share, declared once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import completing

Program = Annotated[
    Path,
    typer.Argument(
        metavar="PROGRAM",
        autocompletion=completing.programs,
        help="The Python file that declares the pipeline.",
    ),
]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        envvar="PENSTOCK_PROFILE",
        autocompletion=completing.profiles,
        help="Which profile of penstock.toml says where things live.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Pipeline = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="Only this pipeline.")
]

EMBEDDED = "embedded"
"""The profile that needs no file."""


def data() -> Path:
    """Return where the embedded PostgreSQL lives: `.penstock` here, or `PENSTOCK_DATA`."""
    return Path(os.environ.get("PENSTOCK_DATA") or ".penstock")


def duration(written: str) -> float:
    """Read an option such as `60s` or `1m` as seconds; a wrong one is a usage error."""
    from penstock import units

    try:
        return units.seconds(written)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Limit = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        parser=duration,
        help="End after so long: 60s, 5m, 2h. A run that is to end by itself, and is not done, "
        "ends with exit code 3 and what it waits for.",
    ),
]
