"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Program = Annotated[
    Path,
    typer.Argument(metavar="PROGRAM", help="The Python file that declares the pipeline."),
]
OptionalProgram = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PROGRAM]",
        help="The Python file that declares the pipeline; needed when the home knows several.",
    ),
]
ProfileName = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        envvar="PENSTOCK_PROFILE",
        help="Which profile of penstock.toml says where things live.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Pipeline = Annotated[
    str | None, typer.Option("--pipeline", metavar="NAME", help="Only this pipeline.")
]

EMBEDDED = "embedded"
