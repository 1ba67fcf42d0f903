"""`penstock init`: a small project that runs at once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import completing, options, output


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A new or an empty folder; its name is the project's."
        ),
    ],
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completing.templates,
            help="api-to-table, files-to-lake or topic-to-table; without it, a terminal asks.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Start a project: a program, a profile, a test, and a check for CI.

    What is written runs at once, on data that comes along, and is yours to change. Nothing that is
    there is overwritten.
    """
    with output.errors_as_exit_codes(json):
        from penstock.cli import scaffold

        chosen = template or _chosen(scaffold.TEMPLATES, as_json=json)
        written = scaffold.create(folder, chosen)
        document = {
            "folder": str(folder),
            "template": chosen,
            "pipeline": scaffold.pipeline_name(folder),
            "files": written,
        }
        output.answer(document, _lines(folder, chosen, written), as_json=json)


def _chosen(templates: Mapping[str, str], *, as_json: bool) -> str:
    """Ask which template; where nobody can answer, that is wrong use."""
    if as_json or not sys.stdin.isatty():
        raise typer.BadParameter(f"say which with --template: {', '.join(templates)}")
    for number, (name, purpose) in enumerate(templates.items(), 1):
        typer.echo(f"  {number}  {name:<15} {purpose}", err=True)
    answer: str = typer.prompt("Which template", default="1", err=True)
    numbered = dict(enumerate(templates, 1))
    return numbered.get(int(answer), answer) if answer.isdecimal() else answer.strip()


def _lines(folder: Path, template: str, written: list[str]) -> str:
    import shlex

    fill = ["penstock run writer.py --until-idle"] if template == "topic-to-table" else []
    go = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    profile = " --profile lake" if template == "files-to-lake" else ""
    steps = [*go, *fill, f"penstock run pipeline.py{profile} --until-idle", "python -m pytest"]
    shown = "\n".join(f"  {name}" for name in written)
    return f"{shown}\n\nGo on with:\n" + "\n".join(f"  {step}" for step in steps)
