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
    """Return a console for the answer."""
    return _console(on_stderr=False)


def stderr() -> Console:
    """Return a console for what is no answer."""
    return _console(on_stderr=True)


def _console(*, on_stderr: bool) -> Console:
    from rich.console import Console

    # Nothing is cut on a pipe; and what users' data holds is never read as markup.
    on_terminal = (sys.stderr if on_stderr else sys.stdout).isatty()
    width = None if on_terminal else 10_000
    return Console(stderr=on_stderr, markup=False, highlight=False, emoji=False, width=width)


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
        _tell(error, str(error), as_json)
        raise typer.Exit(error.exit_code) from None
    except (typer.Exit, typer.BadParameter, KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:  # a bug: say so in the same way
        frame = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"internal error: {type(error).__name__}: {error} ({frame.filename}:{frame.lineno}). "
            "This is a bug in Penstock; `penstock --debug …` shows the traceback"
        )
        _tell(error, message, as_json)
        raise typer.Exit(NO) from None


def _tell(error: Exception, message: str, as_json: bool) -> None:
    if debug:
        traceback.print_exception(error)
    say(f"penstock: {message}")
    if as_json:
        document: dict[str, Any] = {"kind": type(error).__name__, "message": message}
        if isinstance(error, DeclarationError):
            document |= {"message": error.message, "file": error.file, "line": error.line}
        typer.echo(json.dumps({"error": document}, ensure_ascii=False))
