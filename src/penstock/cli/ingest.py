"""`penstock ingest`: only the sources of a pipeline, for schedulers."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output

End = Annotated[
    str | None,
    typer.Option("--to", metavar="BOUND", help="The first bound that is not in the range."),
]


def ingest(  # noqa: PLR0913 - each is an option of the command
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
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BOUND",
            help="With --to: land the records of a range alone, from the first bound that is in "
            "it, written as the API writes it. Where the source stands is left alone. The range "
            "itself names the run; --run-id makes it another one.",
        ),
    ] = None,
    end: End = None,
    for_: options.Limit = None,
    json: options.Json = False,
) -> None:
    """Poll the sources and land what they give.

    Nothing else is run. For a scheduler: `penstock ingest users.py --run-id {{ ds }} --for 10m`
    may be retried at will, and gives up after ten minutes. To fill in the past: `penstock ingest
    users.py --from 2026-01-01 --to 2026-02-01`. After a kill the same command goes on where it
    stood; when it was finished, it does nothing. A pipeline that runs meanwhile is not disturbed.
    """
    if (start is None) != (end is None):
        raise typer.BadParameter("a range needs two bounds: --from and --to")
    bounds = None if start is None or end is None else (start, end)
    with output.errors_as_exit_codes(json):
        from penstock.cli import session
        from penstock.engines.options import Options

        ends = once or run_id is not None or bounds is not None
        wanted = Options(
            until_idle=ends, for_seconds=for_, segments=False, run_id=run_id, range=bounds
        )
        session.run(program, profile, wanted, as_json=json)
