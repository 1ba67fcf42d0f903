"""`penstock crashtest`: kills a pipeline again and again, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options, output

if TYPE_CHECKING:
    from penstock.engines.trials import crashtest as crashtests


def crashtest(  # noqa: PLR0913 - a parameter for each option
    program: options.Program,
    kills: Annotated[int, typer.Option(min=1, help="How many kills, stops and cuts.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule.")] = 1,
    profile: options.ProfileName = options.EMBEDDED,
    changed: Annotated[
        Path | None,
        typer.Option(metavar="PROGRAM", help="Another version of the program, to run in turns."),
    ] = None,
    records: Annotated[
        int, typer.Option(min=0, help="Made-up records for each topic that others write.")
    ] = 20_000,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="GUARANTEE",
            help="Switch a guarantee off: the test must then fail.",
            hidden=True,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Kill a pipeline again and again, and compare.

    Runs the program in child processes, on a PostgreSQL of its own or, with another profile, in
    databases, keyspaces and topics of its own that are removed afterwards; your data is not
    touched. Then it is finished calmly, every sink is compared with a run that nobody
    disturbed, and the ledger must balance. The sources have to end by themselves. If it fails,
    the exit code is 1 and the schedule that failed is printed as a command.
    """
    with output.errors_as_exit_codes(json):
        from penstock import faults
        from penstock import pipeline as programs
        from penstock.engines.trials import crashtest

        if without is not None and without not in faults.SWITCHES:
            raise typer.BadParameter(f"there is {', '.join(faults.SWITCHES)}")
        versions = [program] if changed is None else [program, changed]
        for version in versions:
            programs.load(version)
        trial = crashtest.Trial(
            versions, kills, seed, profile, without, records, options.data(), output.say
        )
        result = crashtest.run(trial)
        output.answer(_document(result), _verdict(result), as_json=json)
        if not result.passed:
            raise typer.Exit(output.NO)


def _document(result: crashtests.Result) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "blows": result.blows,
        "missed": result.missed,
        "rounds": result.rounds,
        "differences": result.differences,
        "command": result.command or None,
    }


def _verdict(result: crashtests.Result) -> str:
    what = f"{result.blows} kills, stops and cuts in {result.rounds} rounds"
    if result.missed:
        what += f" ({result.missed} more came after the program had ended)"
    if result.passed:
        return f"passed: {what}; every sink is as in a run that nobody disturbed"
    wrong = "\n".join(f"✗ {words}" for words in result.differences)
    return f"{wrong}\nNOT passed, after {what}. Once more: {result.command}"
