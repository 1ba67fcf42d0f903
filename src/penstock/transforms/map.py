"""`Stream.map`: a user's function from frame to frame."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.contract import ContractSpec, Misfit, fit
from penstock.records import Cause
from penstock.site import Site


@dataclass(frozen=True, eq=False)
class Map:
    """Runs `fn`, which gives a row for each row, and makes the result fit its contract.

    Raises:
        DeclarationError: `fn` cannot be called with one frame, or runs later (async, generator).
    """

    site: Site
    input: ContractSpec
    output: ContractSpec
    fn: Callable[[pl.DataFrame], Any]

    stage = "map"

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise self.site.error(
                f"map takes a function from frame to frame, not {self.fn!r}: write "
                "`.map(to_user, User)`"
            )
        if inspect.iscoroutinefunction(self.fn) or inspect.isgeneratorfunction(self.fn):
            raise self.site.error(f"{self.name} is async or a generator; write a plain function")
        try:
            inspect.signature(self.fn).bind(None)
        except TypeError as error:
            raise self.site.error(
                f"{self.name} cannot be called with one frame: {error}; "
                "write `def to_user(frame: pl.DataFrame) -> pl.DataFrame`"
            ) from None
        except ValueError:  # a builtin without a signature
            return

    @property
    def name(self) -> str:
        """The function's name."""
        fn = self.fn
        while isinstance(fn, functools.partial):
            fn = fn.func
        name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
        return str(name).rpartition("<locals>.")[2]

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        result = self.fn(rows.clone())  # a clone, since some methods change a frame in place
        if not isinstance(result, pl.DataFrame):
            raise _misfit(_no_frame(result))
        if result.height != rows.height:
            raise _misfit(
                "a map gives one row for each row, this one more or fewer: "
                "drop rows with .filter(), make more with .explode()"
            )
        return fit(self.output, result)


def _no_frame(result: object) -> str:
    if isinstance(result, pl.LazyFrame):
        return "a map returns a DataFrame, this one a LazyFrame: end it with .collect()"
    if isinstance(result, pl.Series):
        return "a map returns a DataFrame, this one a Series: end it with .to_frame()"
    if result is None:
        return "a map returns a DataFrame, this one None: is `return` missing?"
    return f"a map returns a DataFrame, this one {type(result).__name__}"


def _misfit(rule: str) -> Misfit:
    return Misfit(Cause("map", rule))
