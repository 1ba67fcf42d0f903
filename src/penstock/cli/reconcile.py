"""`penstock reconcile`: proves that every record is accounted for."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output


def reconcile(
    program: options.Program,
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare the rows in the stores with the log, too.")
    ] = False,
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Prove that every record is accounted for, or name the first difference.

    The exit code is 1 when anything differs.
    """
    with output.errors_as_exit_codes(json):
        raise NotImplementedError
