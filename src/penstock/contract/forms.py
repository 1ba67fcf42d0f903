"""Reads columns of JSON strings and literals as values, all rows at once.

A `Form` gives a column's values and its doubtful rows: those that are not in the common form,
which `exact` then decides. What is not doubtful is proven to be what `exact` would read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import polars as pl
import pyarrow as pa

from penstock.contract.scalars import DATE_FORM, UUID_FORM
from penstock.contract.types import DecimalType, Type

NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
"""A number as JSON writes it."""

INTS = r"\A-?(?:0|[1-9][0-9]*)\z"
NUMBERS = rf"\A{NUMBER}\z"
UUIDS = rf"\A{UUID_FORM}\z"
DATES = rf"\A{DATE_FORM}\z"
TIMES = r"T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?"
OFFSETS = r"[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]"
DATETIMES = rf"\A(?:{DATE_FORM}{TIMES}Z|[1-8][0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}{TIMES}{OFFSETS})\z"
"""With an offset only years that no offset can move out of those allowed."""

ARROW = {"date": pa.date32(), "datetime": pa.timestamp("us", "UTC")}
FALLBACK = {"date": "%Y-%m-%d", "datetime": "%Y-%m-%dT%H:%M:%S%.f%:z"}


@dataclass(frozen=True)
class Form:
    """How a type is read from a column of text; null stays null and is never in doubt.

    Args:
        doubt: From the type and the text to where `exact` must decide.
        values: From the type and the text to the values; None when they stay text, as dates and
            datetimes do until `instants`.
    """

    doubt: Callable[[Type, pl.Expr], pl.Expr]
    values: Callable[[Type, pl.Expr], pl.Expr] | None = None


def _decimal(type: Type, literal: pl.Expr) -> pl.Expr:
    return literal.str.strip_chars('"').cast(type.polars, strict=False)


def _bytes(_: Type, text: pl.Expr) -> pl.Expr:
    return text.str.decode("base64", strict=False)


def _decimal_doubt(type: Type, literal: pl.Expr) -> pl.Expr:
    assert isinstance(type, DecimalType)  # noqa: S101
    whole = type.precision - type.scale
    digits = rf"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    fraction = rf"(?:\.[0-9]{{1,{type.scale}}})?" if type.scale else ""
    number = f"-?{digits}{fraction}"
    odd = ~literal.str.contains(rf'\A(?:{number}|"{number}")\z')
    return odd | _lost(literal, _decimal(type, literal))


def _lost(text: pl.Expr, value: pl.Expr) -> pl.Expr:
    return value.is_null() & text.is_not_null()


def _day(pattern: str) -> Form:
    return Form(lambda _, text: ~text.str.contains(pattern) | text.str.starts_with("0000"))


FORMS = {
    "uuid": Form(
        lambda _, text: ~text.str.contains(UUIDS), lambda _, text: text.str.to_lowercase()
    ),
    "bytes": Form(lambda type, text: _lost(text, _bytes(type, text)), _bytes),
    "date": _day(DATES),
    "datetime": _day(DATETIMES),
    "decimal": Form(_decimal_doubt, _decimal),
}
"""Of the types whose text may be no value."""


@cache
def reading(type: Type, name: str) -> tuple[pl.Expr, pl.Expr]:
    """Compose how a column of text is read, under its own name, and where that is in doubt."""
    form, text = FORMS[type.kind], pl.col(name)
    return form.values(type, text) if form.values else text, form.doubt(type, text)


def instants(kind: str, texts: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Read texts that have the form of dates or datetimes.

    Returns:
        The column, and where a text named no date or time; None if all did.
    """
    try:
        column = pl.from_arrow(texts.to_arrow().cast(ARROW[kind]))
        assert isinstance(column, pl.Series)  # noqa: S101
        return column, None
    except pa.ArrowInvalid:  # one of them is a 30th of February
        dtype = pl.Date() if kind == "date" else pl.Datetime("us", "UTC")
        offsets = texts.str.replace("Z", "+00:00", literal=True)
        column = offsets.str.strptime(dtype, FALLBACK[kind], strict=False)
        return column, column.is_null() & texts.is_not_null()


def utf8(values: pl.Series) -> pl.Series:
    """Read bytes as text; null where they are not valid UTF-8."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:  # one of them is not
        return pl.Series(values.name, map(_utf8, values.to_list()), dtype=pl.String)


def _utf8(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
