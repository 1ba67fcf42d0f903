"""Reading the errors of the user's code: where it failed, and what a dead letter says of it."""

from __future__ import annotations

import sysconfig
import traceback
from functools import lru_cache
from pathlib import Path

import polars as pl

from penstock.contract import Misfit
from penstock.records import Cause
from penstock.site import Site
from penstock.transforms import Computation, Map

FAULTS = (Exception, pl.exceptions.PanicException)
"""What the user's code may raise; a panic of Polars is no `Exception`."""

CODE = (
    NameError,
    AttributeError,
    ImportError,
    TypeError,
    Misfit,
    pl.exceptions.ColumnNotFoundError,
    pl.exceptions.SchemaError,
    pl.exceptions.SchemaFieldNotFoundError,
    pl.exceptions.StructFieldNotFoundError,
    pl.exceptions.ShapeError,
    pl.exceptions.DuplicateError,
)
"""Errors that come of wrong code more often than of a wrong record."""

LONGEST = 200
_NOT_THEIRS = (
    str(Path(__file__).parent.parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    "<frozen",
)

Frame = tuple[str, int, str, str | None]
Kind = tuple[type[BaseException], str, int | str]


def kind(error: BaseException) -> Kind:
    """Two errors of one kind have the same type and come from the same line of the user's."""
    if isinstance(error, Misfit):
        return Misfit, error.cause.rule, error.cause.field
    frames = _frames(error)
    return (type(error), frames[-1][0], frames[-1][1]) if frames else (type(error), "", 0)


def cause(step: Computation, error: BaseException) -> Cause:
    """Say why a record is dead whose computation raised `error`."""
    if isinstance(error, Misfit):
        found = error.cause
        return Cause(step.stage, found.rule, found.field, found.value, found.detail)
    rule = f"{step.name} raised {type(error).__name__}"
    return Cause(step.stage, rule, value=words(error), detail=_traceback(error))


def place(step: Computation, error: BaseException) -> Site:
    """The user's line that raised, or that defines or declares the step."""
    frames = _frames(error)
    if frames:
        return Site(frames[-1][0], frames[-1][1])
    return home(step)


def home(step: Computation) -> Site:
    """Where a step's code begins."""
    code = getattr(step.fn, "__code__", None) if isinstance(step, Map) else None
    return Site(code.co_filename, code.co_firstlineno) if code else step.site


def words(error: BaseException) -> str:
    """The first line of what an error says, shortened."""
    return next(iter(str(error).splitlines()), "")[:LONGEST]


def _frames(error: BaseException) -> tuple[Frame, ...]:
    """The frames of the user's own code."""
    return tuple(
        (frame.f_code.co_filename, line, frame.f_code.co_name, None)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(_NOT_THEIRS)
    )


def _traceback(error: BaseException) -> str:
    notes = getattr(error, "__notes__", [])
    return "\n".join([f"{_listed(_frames(error))}{type(error).__name__}: {error}", *notes])


@lru_cache(maxsize=100)
def _listed(frames: tuple[Frame, ...]) -> str:
    """Format frames; cached, since one line of code may fail for thousands of records."""
    if not frames:
        return ""
    return "".join(["Traceback (most recent call last):\n", *traceback.format_list(frames)])
