"""Reads columns of JSON strings and literals as values, all rows at once.

Each reader gives a column and the doubtful rows: those that are not in the common form, which
`exact` then decides. What is not doubtful is proven to be what `exact` would read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import polars as pl

from penstock.contract.exact import DATE_FORM, UUID_FORM
from penstock.contract.types import DecimalType, Type

UUIDS = rf"\A{UUID_FORM}\z"
DATES = rf"\A{DATE_FORM}\z"
DATETIMES = (
    rf"\A{DATE_FORM}T[0-9]{{2}}:[0-9]{{2}}:[0-5][0-9](?:\.[0-9]{{1,6}})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-9]|2[0-3]):[0-5][0-9])\z"
)
NUMBERS = r"\A-?[0-9]"
FIRST = pl.lit(datetime.min.replace(tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))
LAST = pl.lit(datetime.max.replace(tzinfo=UTC), dtype=pl.Datetime("us", "UTC"))

Read = tuple[pl.Series, pl.Series]


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


def strings(type: Type, texts: pl.Series) -> Read:
    """Take strings as they are; the type's domain has no NUL."""
    return texts, _rows(texts, _it.str.contains("\0", literal=True))


def choices(type: Type, texts: pl.Series) -> Read:
    """Take strings that are known to be among the choices."""
    return texts, pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)


def uuids(type: Type, texts: pl.Series) -> Read:
    """Read UUIDs, in lower case."""
    return texts.str.to_lowercase(), _rows(texts, ~_it.str.contains(UUIDS))


def dates(type: Type, texts: pl.Series) -> Read:
    """Read days."""
    days = texts.str.to_date("%Y-%m-%d", strict=False)
    odd = ~_it.str.contains(DATES) | _it.str.starts_with("0000")
    return days, _rows(texts, odd) | _failed(days, texts)


def datetimes(type: Type, texts: pl.Series) -> Read:
    """Read instants."""
    offsets = texts.str.replace("Z", "+00:00", literal=True)
    instants = offsets.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    )
    doubt = _rows(texts, ~_it.str.contains(DATETIMES)) | _failed(instants, texts)
    return instants, doubt | _rows(instants, ~_it.is_between(FIRST, LAST))


def base64(type: Type, texts: pl.Series) -> Read:
    """Read bytes from canonical base64."""
    data = texts.str.decode("base64", strict=False)
    return data, _failed(data, texts) | (data.bin.encode("base64") != texts).fill_null(False)


def decimals(type: Type, literals: pl.Series) -> Read:
    """Read numbers from their literals or from strings that hold one."""
    assert isinstance(type, DecimalType)  # noqa: S101
    whole = type.precision - type.scale
    digits = r"0" if whole == 0 else rf"(?:0|[1-9][0-9]{{0,{whole - 1}}})"
    fraction = rf"(?:\.[0-9]{{1,{type.scale}}})?" if type.scale else ""
    number = f"-?{digits}{fraction}"
    plain = literals.str.strip_chars('"')
    numbers = plain.cast(type.polars, strict=False)
    odd = ~_it.str.contains(rf'\A(?:{number}|"{number}")\z')
    return numbers, _rows(literals, odd) | _failed(numbers, plain)


def texts(type: Type, literals: pl.Series) -> Read:
    """Read strings, and the literals of numbers."""
    quoted = _it.str.starts_with('"')
    inner = _it.str.slice(1, _it.str.len_chars() - 2)
    plain = _select(literals, pl.when(quoted).then(inner).otherwise(_it))
    escaped = _rows(literals, quoted & _it.str.contains("\\", literal=True))
    if escaped.any():
        unescaped = [_unescape(text) for text in literals.filter(escaped).to_list()]
        plain = plain.scatter(escaped.arg_true(), unescaped)
    odd = _rows(literals, ~quoted & ~_it.str.contains(NUMBERS))
    return plain, odd | strings(type, plain)[1]


def _unescape(literal: str) -> str:
    return msgspec.json.decode(literal, type=str)


_it = pl.col("it")


def _select(column: pl.Series, expression: pl.Expr) -> pl.Series:
    return column.to_frame("it").select(expression.alias(column.name)).to_series()


def _rows(column: pl.Series, condition: pl.Expr) -> pl.Series:
    """Where a condition on `it` holds; a null column value is never in doubt."""
    return _select(column, condition.fill_null(False))


def _failed(values: pl.Series, texts: pl.Series) -> pl.Series:
    """Where a text gave no value."""
    return values.is_null() & texts.is_not_null()


FROM_STRINGS: dict[str, Callable[[Type, pl.Series], Read]] = {
    "str": strings,
    "choice": choices,
    "uuid": uuids,
    "date": dates,
    "datetime": datetimes,
    "bytes": base64,
}
FROM_LITERALS: dict[str, Callable[[Type, pl.Series], Read]] = {"text": texts, "decimal": decimals}
