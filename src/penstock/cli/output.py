"""What a command says: one answer to stdout, messages to stderr, errors with an exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from penstock.errors import DeclarationError, PenstockError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

debug = False
"""Whether `--debug` was given: expected errors then show their traceback too."""

DONE, NO, USAGE, AWAY = 0, 1, 2, 3
"""Exit codes: done, the answer is no, wrong use or program, a system could not be reached."""


def answer(document: Any, human: RenderableType, *, as_json: bool) -> None:
    """Print a command's answer to stdout, for machines or for people.

    Args:
        document: What `--json` prints; documented in docs/reference/json.md.
        human: What everybody else sees.
        as_json: Whether `--json` was given.
    """
    if as_json:
        typer.echo(json.dumps(document, indent=2, default=str, ensure_ascii=False))
    else:
        stdout().print(human)


def stdout() -> Console:
    """Return a console for the answer. Text in it is never read as markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    return Console(markup=False, highlight=False, emoji=False, width=width, soft_wrap=True)


def say(message: str) -> None:
    """Print a message for people to stderr."""
    typer.echo(message, err=True)


@contextmanager
def errors_as_exit_codes(as_json: bool) -> Iterator[None]:
    """Turn an error into one clear message on stderr and its exit code.

    Args:
        as_json: Whether to print the error as the JSON document, too.
    """
    try:
        yield
    except PenstockError as error:
        if debug:
            traceback.print_exception(error)
        say(f"penstock: {error}")
        if as_json:
            typer.echo(json.dumps({"error": _document(error)}, ensure_ascii=False))
        raise typer.Exit(error.exit_code) from None


def _document(error: PenstockError) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, DeclarationError):
        document |= {"message": error.message, "file": error.file, "line": error.line}
    return document
