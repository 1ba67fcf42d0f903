"""The app: which command is which module. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from penstock.cli import (
    check,
    compact,
    crashtest,
    deadletters,
    ingest,
    init,
    output,
    parity,
    reconcile,
    run,
    services,
    status,
)

app = typer.Typer(
    name="penstock",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(init.init)
app.command()(run.run)
app.command()(ingest.ingest)
app.command()(check.check)
app.command()(status.status)
app.command()(reconcile.reconcile)
app.add_typer(deadletters.app, name="deadletters")
app.command()(crashtest.crashtest)
app.command()(parity.parity)
app.command()(compact.compact)
app.add_typer(services.app, name="services")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"penstock {version('penstock')}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and debug log lines.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say the version.")
    ] = False,
) -> None:
    """Run real-time data pipelines in which every record is accounted for.

    Exit codes: 0 done; 1 the answer is no (not balanced, a check failed, the pipeline stopped
    with an error); 2 wrong use, program or profile; 3 a system could not be reached.
    """
    output.debug = debug or bool(os.environ.get("PENSTOCK_DEBUG"))


def main() -> None:
    """Run the command with the process's arguments; the console script `penstock`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an ASCII terminal gets escapes, not an error
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="penstock")
