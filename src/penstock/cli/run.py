"""`penstock run`: run a pipeline, show what it does, and say at the end whether it balances."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output

NoSources = Annotated[
    bool,
    typer.Option(
        "--no-sources", help="Poll no source: a scheduler does that, by `penstock ingest`."
    ),
]


def run(  # noqa: PLR0913 - a parameter for each option
    program: options.Program,
    profile: options.ProfileName = options.EMBEDDED,
    until_idle: Annotated[
        bool,
        typer.Option("--until-idle", help="End when everything there is has been written."),
    ] = False,
    for_: options.Limit = None,
    no_sources: NoSources = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Fence the process that works on the pipeline now."),
    ] = False,
    accept_log: Annotated[
        bool,
        typer.Option(
            "--accept-log", help="Start anew on logs that were re-created, truncated or restored."
        ),
    ] = False,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Take each new version of the program as it is saved."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Run a pipeline until it is stopped.

    On a terminal a live table shows each lane; elsewhere there are log lines. Ctrl-C or SIGTERM
    finish the micro-batch and stop; a second one stops at once, which is safe, too. At the end the
    run says what was done and whether it balances; the exit code is 1 if it does not.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import session
        from penstock.engines.options import Options

        wanted = Options(
            until_idle=until_idle,
            for_seconds=for_,
            sources=not no_sources,
            take_over=take_over,
            accept_log=accept_log,
        )
        session.run(program, profile, wanted, as_json=json, reload=reload)
