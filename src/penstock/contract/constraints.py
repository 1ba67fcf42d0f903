"""What a value must obey beyond its type, as Polars expressions over whole columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from penstock.contract.types import (
    BytesType,
    DatetimeType,
    DateType,
    DecimalType,
    FloatType,
    IntType,
    ListType,
    StrType,
    Type,
)

ORDERED = (IntType, FloatType, DecimalType, DateType, DatetimeType)
MAX_LENGTH = 2**32 - 1
Bound = int | float | Decimal | date | datetime


class Constraint:
    """A rule on one field. A null obeys every constraint."""

    @property
    def rule(self) -> str:
        """The rule in words, the same for every record that breaks it."""
        raise NotImplementedError

    def wrong(self, type: Type) -> str | None:
        """Say why the constraint cannot be put on a field of this type, or None."""
        raise NotImplementedError

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        """Whether the value obeys the rule; may be null where the value is."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The constraint as plain data, as home stores it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pattern(Constraint):
    r"""The whole string matches a regular expression (in Rust's syntax: no look-around).

    Example: `email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]`
    """

    regex: str

    @property
    def rule(self) -> str:
        return f"matches {self.regex}"

    @property
    def anchored(self) -> str:
        """The expression that matches whole strings only."""
        return rf"\A(?:{self.regex})\z"

    def wrong(self, type: Type) -> str | None:
        if not isinstance(type, StrType):
            return (
                f"a Pattern is for a str, not for {type.words}; remove it, or make the field a str"
            )
        for regex in (self.regex, self.anchored):
            try:
                pl.Series([""]).str.contains(regex)
            except pl.exceptions.ComputeError as error:
                reason = " ".join(str(error).split())
                return (
                    f"the pattern {self.regex!r} is no regular expression in Rust's syntax, which "
                    f"Penstock uses (no look-around, no back-references): {reason}"
                )
        return None

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        return value.str.contains(self.anchored)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "pattern", "regex": self.regex}


@dataclass(frozen=True, kw_only=True)
class Range(Constraint):
    """The value lies between bounds.

    Args:
        ge: The least value allowed.
        gt: Values must be greater than this.
        le: The greatest value allowed.
        lt: Values must be less than this.

    Example: `age: Annotated[int, ps.Range(ge=0, lt=150)]`
    """

    ge: Bound | None = None
    gt: Bound | None = None
    le: Bound | None = None
    lt: Bound | None = None

    @property
    def bounds(self) -> dict[str, Bound]:
        """The bounds that are given, by the name of their comparison."""
        every = {"ge": self.ge, "gt": self.gt, "le": self.le, "lt": self.lt}
        return {name: bound for name, bound in every.items() if bound is not None}

    @property
    def rule(self) -> str:
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        return " and ".join(f"{signs[name]} {bound}" for name, bound in self.bounds.items())

    def wrong(self, type: Type) -> str | None:
        if not isinstance(type, ORDERED):
            return f"a Range is for numbers, dates and datetimes, not for {type.words}"
        if not self.bounds:
            return "a Range needs a bound: write Range(ge=0), or remove it"
        for bound in self.bounds.values():
            if not _comparable(bound, type):
                return f"the bound {bound!r} of a Range cannot be compared with {type.words}"
        lows: list[Any] = [bound for bound in (self.ge, self.gt) if bound is not None]
        highs: list[Any] = [bound for bound in (self.le, self.lt) if bound is not None]
        if lows and highs and max(lows) > min(highs):
            return f"no value is {self.rule}: correct the bounds"
        return None

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        return pl.all_horizontal(
            getattr(value, name)(pl.lit(bound)) for name, bound in self.bounds.items()
        )

    def to_json(self) -> dict[str, Any]:
        return {"kind": "range", **{name: str(bound) for name, bound in self.bounds.items()}}


@dataclass(frozen=True)
class Length(Constraint):
    """How many characters a str, bytes a bytes, or elements a list has, inclusive.

    Example: `country: Annotated[str, ps.Length(2, 2)]`
    """

    min: int = 0
    max: int | None = None

    @property
    def rule(self) -> str:
        upto = "or more" if self.max is None else f"to {self.max}"
        return f"length {self.min} {upto}"

    def wrong(self, type: Type) -> str | None:
        if not isinstance(type, (StrType, BytesType, ListType)):
            return f"a Length is for str, bytes and list, not for {type.words}"
        if self.min < 0 or (self.max is not None and self.max < self.min):
            return f"no value has the length {self.min} to {self.max}"
        return None

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        upto = MAX_LENGTH if self.max is None else self.max
        return _length(value, type).is_between(self.min, upto)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "length", "min": self.min, "max": self.max}


@dataclass(frozen=True, init=False)
class OneOf(Constraint):
    """The value is one of these.

    Example: `size: Annotated[int, ps.OneOf(1, 2, 4)]`
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    @property
    def rule(self) -> str:
        return "one of " + ", ".join(str(value) for value in self.values)

    def wrong(self, type: Type) -> str | None:
        if not isinstance(type, (StrType, *ORDERED)):
            return f"a OneOf is for str, numbers, dates and datetimes, not for {type.words}"
        if not self.values:
            return "a OneOf needs values: write OneOf(1, 2), or remove it"
        for value in self.values:
            fits = isinstance(value, str) if isinstance(type, StrType) else _comparable(value, type)
            if not fits:
                return f"the value {value!r} of a OneOf is not {type.words}"
        return None

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        return value.is_in(pl.Series(self.values, dtype=type.polars, strict=False).implode())

    def to_json(self) -> dict[str, Any]:
        return {"kind": "one_of", "values": [str(value) for value in self.values]}


@dataclass(frozen=True)
class Check(Constraint):
    """A rule of one's own: an expression over the column that is true where the value is good.

    The expression must look at each row alone. A null counts as not good.

    Args:
        test: From the column to a boolean expression.
        words: The rule, as a dead letter shows it.

    Example: `even: Annotated[int, ps.Check(lambda n: n % 2 == 0, "is even")]`
    """

    test: Callable[[pl.Expr], pl.Expr]
    words: str

    @property
    def rule(self) -> str:
        return self.words

    def wrong(self, type: Type) -> str | None:
        empty = pl.DataFrame(schema={"value": type.polars})
        try:
            dtype = empty.select(self.test(pl.col("value"))).to_series().dtype
        except Exception as error:  # the user's code may raise anything
            return f"the Check {self.words!r} fails on {type.words}: {error}"
        if dtype != pl.Boolean:
            return f"the Check {self.words!r} gives {dtype}, not Boolean: compare the value"
        return None

    def holds(self, value: pl.Expr, type: Type) -> pl.Expr:
        return self.test(value).fill_null(False)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "check", "words": self.words}

    @property
    def code(self) -> str:
        """What the test does, for a fingerprint."""
        code = getattr(self.test, "__code__", None)
        return repr((code.co_code, code.co_consts, code.co_names)) if code else repr(self.test)


def _length(value: pl.Expr, type: Type) -> pl.Expr:
    """Count what the type is made of."""
    if isinstance(type, ListType):
        return value.list.len()
    return value.bin.size() if isinstance(type, BytesType) else value.str.len_chars()


def _comparable(bound: Any, type: Type) -> bool:
    """Whether a bound can stand beside values of a type."""
    if isinstance(type, DatetimeType):
        return isinstance(bound, datetime) and bound.tzinfo is not None
    if isinstance(type, DateType):
        return isinstance(bound, date) and not isinstance(bound, datetime)
    if isinstance(type, FloatType):
        return isinstance(bound, (int, float)) and not isinstance(bound, bool)
    kinds = (int, Decimal) if isinstance(type, DecimalType) else (int,)
    return isinstance(bound, kinds) and not isinstance(bound, bool)
