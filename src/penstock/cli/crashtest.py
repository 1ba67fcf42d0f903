"""`penstock crashtest`: kills a pipeline again and again, and compares."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output


def crashtest(
    program: options.Program,
    kills: Annotated[int, typer.Option(min=1, help="How many kills and stops.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule.")] = 1,
    json: options.Json = False,
) -> None:
    """Kill a pipeline again and again, restart it, and compare every sink with a calm run.

    It works in a temporary folder with a PostgreSQL of its own; your data is not touched. If it
    fails, it prints the schedule that failed as a command.
    """
    with output.errors_as_exit_codes(json):
        raise NotImplementedError
