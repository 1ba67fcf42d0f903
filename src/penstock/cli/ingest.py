"""`penstock ingest`: only the sources of a pipeline, for schedulers."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output


def ingest(
    program: options.Program,
    profile: options.ProfileName = options.EMBEDDED,
    once: Annotated[bool, typer.Option("--once", help="Poll each source once, and end.")] = False,
    run_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="A scheduler's name for this run, implies --once. A finished run does nothing "
            "when it is asked for again, an unfinished one goes on at its cursor.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Poll the sources and land what they give.

    Nothing else is run. For a scheduler: `penstock ingest users.py --run-id {{ ds }}` may be
    retried at will.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import session
        from penstock.engines.options import Options

        wanted = Options(until_idle=once or run_id is not None, segments=False, run_id=run_id)
        session.run(program, profile, wanted, as_json=json)
