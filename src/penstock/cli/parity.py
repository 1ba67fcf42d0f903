"""`penstock parity`: runs a program on two engines, and compares what they give."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.engines.trials import parity as parities
    from penstock.engines.trials.comparing import Difference


Records = Annotated[
    int,
    typer.Option(
        min=1,
        help="At most so many responses of each source, and made-up records for each topic that "
        "others write.",
    ),
]
Held = Annotated[
    bool,
    typer.Option("--held", help="Take what the profile's landings and topics hold, oldest first."),
]
Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        metavar="PATH",
        exists=True,
        help="Take the input from a file that --record wrote, or from a folder with a file for "
        "each log.",
    ),
]
Record = Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the input in a file.")]


def parity(  # noqa: PLR0913 - a parameter for each option
    program: options.Program,
    profile: options.ProfileName = options.EMBEDDED,
    records: Records = 5_000,
    held: Held = False,
    input_: Input = None,
    record: Record = None,
    json: options.Json = False,
) -> None:
    """Run a pipeline on two engines, and compare.

    Records an input, runs the program on it with the embedded engine and PostgreSQL, then on the
    profile, and compares every row of every sink, every record of every topic, every dead letter
    and the ledger's counts. Both runs have databases, keyspaces and topics of their own, which are
    removed afterwards. The exit code is 1 when something differs.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import signals
        from penstock.engines.trials import parity

        if held and input_:
            raise typer.BadParameter("--held and --input are two inputs; choose one")
        wanted = parity.Comparison(
            program,
            profile,
            records,
            held=held,
            given=input_,
            kept=record,
            root=options.data(),
            said=output.say,
        )
        with signals.interrupting():
            result = parity.compare(wanted)
        output.answer(_document(result), _drawn(result), as_json=json)
        if not result.equal:
            raise typer.Exit(output.NO)


def _document(result: parities.Result) -> dict[str, Any]:
    return {
        "equal": result.equal,
        "profile": result.profile,
        "inputs": result.inputs,
        "lanes": [asdict(lane) for lane in result.lanes.values()],
        "differences": [asdict(one) for one in result.differences],
        "notes": result.notes,
    }


def _drawn(result: parities.Result) -> RenderableType:
    """The result for people."""
    from rich.console import Group

    from penstock.cli import drawing, text

    columns = ("compared", "dead", "different")
    table = drawing.table("lane", *columns, right=columns)
    for lane in result.lanes.values():
        figures = map(text.count, (lane.compared, lane.dead, lane.different))
        table.add_row(drawing.words(lane.lane), *figures)
    lines = [drawing.words(f"note: {note}") for note in result.notes]
    lines += [drawing.words(_words(one, result.profile), "red") for one in result.differences]
    given = ", ".join(f"{name} ({text.count(n)})" for name, n in result.inputs.items())
    many = sum(lane.different for lane in result.lanes.values())
    verdict = (
        f"equal: the embedded engine and profile {result.profile!r} give the same from {given}"
        if result.equal
        else f"NOT equal: {text.count(many)} differences, from {given}"
    )
    return Group(table, *lines, drawing.words(verdict, "green" if result.equal else "bold red"))


def _words(one: Difference, profile: str) -> str:
    from penstock.cli import text

    width = max(len("embedded"), len(profile)) + 1
    sides = [("embedded:", one.first), (f"{profile}:", one.second)]
    shown = [f"    {name:<{width}} {text.line(v) or '(has it not)'}" for name, v in sides]
    return "\n".join([f"✗ lane {one.lane}, {one.kind}, {text.line(one.where)}", *shown])
