"""`penstock compact`: makes few large files of many small ones."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options, output


def compact(
    program: options.Program,
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="TABLE@STORE", help="Only this one, as in orders@lake."),
    ] = None,
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="How large a file shall be.")
    ] = "128MB",
    profile: options.ProfileName = options.EMBEDDED,
    json: options.Json = False,
) -> None:
    """Make few large files of many small ones, in the tables of files that a program writes.

    The pipeline may be running. While the files of a folder are replaced, readers of the folder
    miss their rows for a moment; they never see a row twice.
    """
    with output.errors_as_exit_codes(json):
        from penstock import faults, plan
        from penstock import pipeline as programs
        from penstock import profile as profiles
        from penstock.engines import compacting
        from penstock.engines.systems import Systems
        from penstock.serdes import formats

        faults.arm_from_environment()
        wanted = _bytes(size)
        declared = programs.load(program)
        settings = profiles.load(name=profile)
        segments = plan.compile(declared, formats.codecs(settings))
        with Systems(settings, declared.name, options.data()) as systems:
            done = dict(
                compacting.compact(declared.name, segments, systems, size=wanted, table=table)
            )
        lines = [
            f"{name}: {each.before:,} files became {each.after:,}, {each.size / 1e6:,.1f} MB"
            for name, each in done.items()
        ]
        document = {
            name: {"before": each.before, "after": each.after, "bytes": each.size}
            for name, each in done.items()
        }
        output.answer({"tables": document}, "\n".join(lines), as_json=json)


def _bytes(written: str) -> int:
    from penstock import units

    try:
        return units.size(written)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
