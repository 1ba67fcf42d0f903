"""Turns parsed JSON values into what columns hold, exactly or not at all."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from typing import Any

from penstock.contract.documents import Number, Problem, kind_of
from penstock.contract.types import (
    BoolType,
    BytesType,
    ChoiceType,
    DatetimeType,
    DateType,
    DecimalType,
    FloatType,
    IntType,
    StrType,
    TextType,
    Type,
    UuidType,
)

UUID_FORM = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
DATE_FORM = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_UUID = re.compile(UUID_FORM)
_DATE = re.compile(DATE_FORM)
_DATETIME = re.compile(
    rf"({DATE_FORM})[Tt ]([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_EXACT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])


def scalar(type: Type, value: Any) -> Any:
    """Turn a parsed value into one of a type that is neither a list nor a contract.

    Raises:
        Problem: The value is not of the type, or not in its domain.
    """
    return _SCALARS[type.kind](type, value)


def wrong(type: Type, value: Any) -> Problem:
    """Say that a value is not of the type."""
    return Problem(f"expected {type.words}, got {kind_of(value)}", value)


def _str(type: Type, value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise wrong(type, value)
    return _clean(value)


def _clean(value: str) -> str:
    if "\0" in value:
        raise Problem("NUL in a str", value)
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise Problem("a lone surrogate in a str", value)
    return value


def _text(type: Type, value: Any) -> str:
    return str(value) if isinstance(value, Number) else _str(type, value)


def _choice(type: Type, value: Any) -> str:
    assert isinstance(type, ChoiceType)  # noqa: S101
    if not isinstance(value, str) or isinstance(value, Number) or value not in type.values:
        raise wrong(type, value)
    return value


def _uuid(type: Type, value: Any) -> str:
    text = _str(type, value)
    if not _UUID.fullmatch(text):
        raise wrong(type, value)
    return text.lower()


def _int(type: Type, value: Any) -> int:
    if not isinstance(value, Number) or not value.lstrip("-").isdigit():
        raise wrong(type, value)
    if len(value) > 20 or not -(2**63) <= int(value) < 2**63:
        raise Problem("an int beyond 64 bits", value)
    return int(value)


def _float(type: Type, value: Any) -> float:
    if not isinstance(value, Number):
        raise wrong(type, value)
    number = float(value)
    if number in (float("inf"), float("-inf")):
        raise Problem("a float beyond 64 bits", value)
    if value.lstrip("-").isdigit():
        if Decimal(value) != Decimal(number):
            raise Problem("an int that no float equals", value)
        return number + 0.0
    return number


def _bool(type: Type, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(type, value)
    return value


def _decimal(type: Type, value: Any) -> Decimal:
    assert isinstance(type, DecimalType)  # noqa: S101
    if not isinstance(value, str) or not _NUMBER.fullmatch(value) or len(value) > 400:
        raise wrong(type, value)
    try:
        number = _EXACT.create_decimal(value).quantize(
            Decimal(1).scaleb(-type.scale), context=_EXACT
        )
    except (Inexact, InvalidOperation):
        raise wrong(type, value) from None
    if number and number.adjusted() >= type.precision - type.scale:
        raise wrong(type, value)
    return number if number else number.copy_abs()


def _date(type: Type, value: Any) -> date:
    text = _str(type, value)
    if not _DATE.fullmatch(text):
        raise wrong(type, value)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("no such date", value) from None


def _datetime(type: Type, value: Any) -> datetime:
    text = _str(type, value)
    match = _DATETIME.fullmatch(text)
    if not match:
        raise wrong(type, value)
    day, hour, minute, second, fraction, sign, *offset = match.groups(default="")
    if text[-1] not in "Zz" and not sign:
        raise Problem("a datetime without a zone", value)
    if fraction[6:].strip("0"):
        raise Problem("a datetime finer than microseconds", value)
    try:
        local = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second}")
        local = local.replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)
        return local - _offset(sign, offset)
    except (ValueError, OverflowError):
        raise Problem("no such datetime", value) from None


def _offset(sign: str, offset: list[str]) -> timedelta:
    """The zone's distance from UTC; raises ValueError for one that no clock shows."""
    if not sign:
        return timedelta()
    hours, minutes = int(offset[0]), int(offset[1])
    if minutes > 59:
        raise ValueError(offset)
    zone = timezone((-1 if sign == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    return zone.utcoffset(None)


def _bytes(type: Type, value: Any) -> bytes:
    text = _str(type, value)
    try:
        decoded = b64decode(text.encode(), validate=True)
    except ValueError:
        raise wrong(type, value) from None
    if b64encode(decoded).decode() != text:
        raise wrong(type, value)
    return decoded


_SCALARS: dict[str, Callable[[Type, Any], Any]] = {
    StrType.kind: _str,
    TextType.kind: _text,
    ChoiceType.kind: _choice,
    UuidType.kind: _uuid,
    IntType.kind: _int,
    FloatType.kind: _float,
    BoolType.kind: _bool,
    DecimalType.kind: _decimal,
    DateType.kind: _date,
    DatetimeType.kind: _datetime,
    BytesType.kind: _bytes,
}
