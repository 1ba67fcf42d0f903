"""Reads columns of JSON strings and literals as values, all rows at once.

A `Form` gives a column's values and its doubtful rows: those that are not in the common form,
which `exact` then decides. What is not doubtful is proven to be what `exact` would read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from penstock.contract.scalars import DATE_FORM, UUID_FORM
from penstock.contract.types import DecimalType, Type

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
        values: From the type and the text to the values; for dates and datetimes still text.
        doubt: From the type and the text to where `exact` must decide.
    """

    values: Callable[[Type, pl.Expr], pl.Expr]
    doubt: Callable[[Type, pl.Expr], pl.Expr]


def _decimal_doubt(type: Type, literal: pl.Expr) -> pl.Expr:
    assert isinstance(type, DecimalType)  # noqa: S101
    whole = type.precision - type.scale
    digits = rf"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    fraction = rf"(?:\.[0-9]{{1,{type.scale}}})?" if type.scale else ""
    number = f"-?{digits}{fraction}"
    return ~literal.str.contains(rf'\A(?:{number}|"{number}")\z')


def _day_doubt(pattern: str) -> Callable[[Type, pl.Expr], pl.Expr]:
    return lambda type, text: ~text.str.contains(pattern) | text.str.starts_with("0000")


FORMS = {
    "str": Form(lambda _, text: text, lambda _, text: text.str.contains("\0", literal=True)),
    "uuid": Form(
        lambda _, text: text.str.to_lowercase(), lambda _, text: ~text.str.contains(UUIDS)
    ),
    "bytes": Form(
        lambda _, text: text.str.decode("base64", strict=False), lambda _, text: pl.lit(False)
    ),
    "date": Form(lambda _, text: text, _day_doubt(DATES)),
    "datetime": Form(lambda _, text: text, _day_doubt(DATETIMES)),
    "decimal": Form(
        lambda type, literal: literal.str.strip_chars('"').cast(type.polars, strict=False),
        _decimal_doubt,
    ),
}
FORMS["text"] = FORMS["str"]


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
