"""Checks columns against a contract: nulls, the domains of types, constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache

import polars as pl

from penstock.contract.constraints import Constraint
from penstock.contract.documents import show
from penstock.contract.spec import ContractSpec
from penstock.contract.types import (
    ChoiceType,
    DatetimeType,
    DateType,
    Field,
    FloatType,
    ListType,
    NestedType,
    StrType,
    Type,
    UuidType,
)
from penstock.records import Cause

UUID_STORED = r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z"


@dataclass(frozen=True)
class Rule:
    """One thing that rows must obey.

    Args:
        field: Dotted path.
        words: The rule in words.
        bad: True where a row breaks it; null means it does not.
        value: The column that holds the offending value.
    """

    field: str
    words: str
    bad: pl.Expr
    value: pl.Expr


@cache
def rules(spec: ContractSpec, *, domain: bool) -> tuple[Rule, ...]:
    """List the rules of a contract.

    Args:
        spec: The contract.
        domain: Also nulls and the domains of types, which decoding has proven by itself.
    """
    return tuple(
        Rule(path, words, bad, pl.col(field.name))
        for field in spec.fields
        for path, words, bad in _field_rules(field, pl.col(field.name), domain)
    )


def validate(spec: ContractSpec, frame: pl.DataFrame) -> list[tuple[int, Cause]]:
    """Check a frame that `fit` gave; return the row numbers that break the contract, and why.

    One cause for each row, the first in the order of fields. The born field may be null.
    """
    return broken(frame, rules(spec, domain=True))


def broken(frame: pl.DataFrame, rules: Sequence[Rule]) -> list[tuple[int, Cause]]:
    """Find the rows that break a rule, with the first rule that each breaks.

    A row for which a rule of the user's raises breaks it; such rows are found by bisection.
    """
    if frame.is_empty() or not rules:
        return []
    try:
        return _broken(frame, rules)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        if frame.height == 1:
            return [(0, _raised(frame, rules))]
        half = frame.height // 2
        late = broken(frame[half:], rules)
        return broken(frame[:half], rules) + [(half + row, cause) for row, cause in late]


def _broken(frame: pl.DataFrame, rules: Sequence[Rule]) -> list[tuple[int, Cause]]:
    flags = frame.select_seq(rule.bad.any().alias(str(n)) for n, rule in enumerate(rules)).row(0)
    found: dict[int, Cause] = {}
    for rule, any_bad in zip(rules, flags, strict=True):
        if any_bad:
            for row, value in _guilty(frame, rule):
                found.setdefault(row, Cause("contract", rule.words, rule.field, value))
    return sorted(found.items(), key=lambda item: item[0])


def _raised(row: pl.DataFrame, rules: Sequence[Rule]) -> Cause:
    """Name the first rule that the row breaks, or for which it raises."""
    for rule in rules:
        try:
            if found := _broken(row, [rule]):
                return found[0][1]
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            value = value_words(row.select(rule.value.alias("value")).item())
            return Cause("contract", rule.words, rule.field, value, f"the check raised: {error}")
    raise AssertionError("the rules hold one by one, but not together")


def _guilty(frame: pl.DataFrame, rule: Rule) -> Iterator[tuple[int, str]]:
    rows = frame.lazy().select(rule.value.alias("value")).with_row_index("row")
    bad = frame.select(rule.bad.fill_null(False).alias("bad")).to_series()
    for row, value in rows.collect().filter(bad).iter_rows():
        yield row, value_words(value)


def value_words(value: object) -> str:
    """Show a column's value, shortened."""
    if value is None:
        return "null"
    return show(value) if isinstance(value, (str, bytes)) else str(value)[:200]


def _field_rules(field: Field, value: pl.Expr, domain: bool) -> Iterator[tuple[str, str, pl.Expr]]:
    if domain and not field.nullable and not field.is_born:
        yield field.name, "null in a field that is not nullable", value.is_null()
    for path, words, bad in _type_rules(field.type, field.constraints, value, domain):
        yield f"{field.name}.{path}" if path else field.name, words, bad


def _type_rules(
    type: Type, constraints: tuple[Constraint, ...], value: pl.Expr, domain: bool
) -> Iterator[tuple[str, str, pl.Expr]]:
    if domain and (check := _domain(type)):
        words, breaks = check
        yield "", words, breaks(value)
    for constraint in constraints:
        yield "", constraint.rule, value.is_not_null() & ~constraint.holds(value, type)
    if isinstance(type, NestedType):
        for field in type.fields:
            inner = value.struct.field(field.name)
            for path, words, bad in _field_rules(field, inner, domain):
                yield path, words, value.is_not_null() & bad
    if isinstance(type, ListType):
        yield from _element_rules(type, value, domain)


def _element_rules(
    type: ListType, value: pl.Expr, domain: bool
) -> Iterator[tuple[str, str, pl.Expr]]:
    element = pl.element()
    if domain and not type.nullable:
        words = "null in a list whose elements are not nullable"
        yield "*", words, value.list.eval(element.is_null()).list.any()
    for path, words, bad in _type_rules(type.element, type.constraints, element, domain):
        whole = value.list.eval(bad.fill_null(False)).list.any()
        yield f"*.{path}" if path else "*", words, whole


def _domain(type: Type) -> tuple[str, Callable[[pl.Expr], pl.Expr]] | None:
    """The rule on a type's values that its dtype does not express."""
    if isinstance(type, StrType):
        return "NUL in a str", lambda v: v.str.contains("\0", literal=True)
    if isinstance(type, UuidType):
        return "a UUID is 36 lower-case characters", lambda v: ~v.str.contains(UUID_STORED)
    if isinstance(type, ChoiceType):
        choices = pl.Series(type.values, dtype=pl.String).implode()
        return type.words, lambda v: ~v.is_in(choices)
    if isinstance(type, FloatType):
        return "a float is finite", lambda v: ~v.is_finite()
    if isinstance(type, DateType):
        first, last = pl.lit(date.min), pl.lit(date.max)
        return "a date of the years 1 to 9999", lambda v: ~v.is_between(first, last)
    if isinstance(type, DatetimeType):
        least = pl.lit(datetime.min.replace(tzinfo=UTC), dtype=type.polars)
        most = pl.lit(datetime.max.replace(tzinfo=UTC), dtype=type.polars)
        return "a datetime of the years 1 to 9999", lambda v: ~v.is_between(least, most)
    return None
