"""Reading the errors of the user's code: where it failed, and what a dead letter says of it."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import polars as pl

from penstock.contract import Misfit
from penstock.interfaces import Cause
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
_OURS = str(Path(__file__).parent.parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})

Kind = tuple[type[BaseException], str, int | str]


def kind(error: BaseException) -> Kind:
    """Two errors of one kind have the same type and come from the same line of the user's."""
    if isinstance(error, Misfit):
        return Misfit, error.cause.rule, error.cause.field
    frames = _frames(error)
    place = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
    return type(error), *place


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
        return Site(frames[-1].filename, frames[-1].lineno or 0)
    return home(step)


def home(step: Computation) -> Site:
    """Where a step's code begins."""
    code = getattr(step.fn, "__code__", None) if isinstance(step, Map) else None
    return Site(code.co_filename, code.co_firstlineno) if code else step.site


def words(error: BaseException) -> str:
    """The first line of what an error says, shortened."""
    return next(iter(str(error).splitlines()), "")[:LONGEST]


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of the user's own code."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen"))
    ]
    return [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]


def _traceback(error: BaseException) -> str:
    head = ["Traceback (most recent call last):\n"] if (frames := _frames(error)) else []
    lines = head + traceback.format_list(frames) + traceback.format_exception_only(error)
    return "".join(lines).rstrip()
