"""Bounds of a source's records as an API writes them: numbers, times, or other text. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

_DATE = len("2026-01-31")
_DAY = 86400
_ANY_ZONE = timedelta(hours=14)


def kind(text: str) -> str:
    """What a bound is: `number`, `time` (a date, or a date and time in ISO 8601) or `text`."""
    if _number(text) is not None:
        return "number"
    return "text" if _time(text) is None else "time"


def greater(one: str, other: str) -> bool:
    """Whether a bound is beyond another of its kind; equal times are told apart by their text."""
    a, b = _number(one), _number(other)
    if a is not None and b is not None:
        return a > b
    first, second = _time(one), _time(other)
    if first is not None and second is not None and first != second:
        return first > second
    return one > other


def moved(text: str, by: float) -> str:
    """A bound so many seconds later (earlier when negative), or a number greater by so many.

    It is written as it was: a date stays one when moved by whole days, a time keeps its zone.
    """
    number = _number(text)
    if number is not None:
        return format(number + Decimal(repr(by)).normalize(), "f")
    if len(text) == _DATE and by % _DAY == 0:
        return (datetime.fromisoformat(text) + timedelta(seconds=by)).date().isoformat()
    later = (datetime.fromisoformat(text) + timedelta(seconds=by)).isoformat()
    return later.removesuffix("+00:00") + "Z" if text.endswith("Z") else later


def written(now: datetime, like: str) -> str:
    """A moment as the bound `like` is written: a date, or a time in its zone."""
    model = datetime.fromisoformat(like)
    if len(like) == _DATE:
        return now.astimezone(UTC).date().isoformat()
    local = now.astimezone(model.tzinfo or UTC)
    text = (local if model.tzinfo else local.replace(tzinfo=None)).isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if like.endswith("Z") else text


def lies_ahead(text: str, now: datetime) -> bool:
    """Whether a bound is a time in the future; one without a zone may be in any."""
    then = _time(text)
    if then is None or _number(text) is not None:
        return False
    zoned = datetime.fromisoformat(text).tzinfo is not None
    return then > (now if zoned else now + _ANY_ZONE)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _time(text: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
