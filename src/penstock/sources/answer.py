"""What an HTTP answer means to a source: take it, ask later, or a final no. No connection here."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.interfaces import Framing

if TYPE_CHECKING:
    import httpx

EXPIRED = frozenset({400, 404, 410})
"""What an API answers to a cursor that it knows no more."""

_ASK_LATER = frozenset({408, 425, 429})
_LONGEST_REST = 86400.0
_NOT_THERE = (msgspec.MsgspecError, KeyError, UnicodeError, RecursionError)
_SHOWN = 300


class Denied(Refused):
    """An answer that is a final no, with its status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def judge(response: httpx.Response, place: str, now: datetime) -> PenstockError | None:
    """Say what is wrong with an answer by its status and beginning.

    Args:
        response: The answer; when it is a final no, the beginning of its body is read.
        place: Where it came from, for the message.
        now: The time, to count from when the answer names a date to ask again at.

    Returns:
        `Unavailable` to ask again later, `Refused` for a final no, None when it is good.
    """
    status = response.status_code
    if 200 <= status < 300:
        return None
    said = f"{place} answered {status} {response.reason_phrase}".rstrip()
    if status in _ASK_LATER or status >= 500:
        return Unavailable(said, retry_after=retry_after(response.headers.get("retry-after"), now))
    told = f"{said}; check the address and the credentials{_beginning(response)}"
    return Denied(told, status)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read the header `Retry-After`: seconds or a date; None when there is none or it is neither.

    A day is the longest rest that is kept to.
    """
    if value is None:
        return None
    try:
        rest = float(value)
    except ValueError:
        rest = _until(value, now)
    return None if math.isnan(rest) else min(max(rest, 0.0), _LONGEST_REST)


def count_records(body: bytes, path: tuple[str, ...]) -> int | None:
    """How many records the list at `path` holds; None when there is no such list.

    Nothing is built of the records themselves, so that a large body costs little memory.
    """
    try:
        return len(msgspec.json.decode(_part(body, path), type=list[msgspec.Raw]))
    except _NOT_THERE:
        return None


def text_at(body: bytes, path: tuple[str, ...]) -> str | None:
    """The string or number at `path`, as it is written; None when there is none."""
    try:
        part = bytes(_part(body, path)).strip()
        value = msgspec.json.decode(part)
    except _NOT_THERE:
        return None
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return part.decode() if is_number else None


def texts(body: bytes, framing: Framing, path: tuple[str, ...]) -> list[str]:
    """The strings or numbers at `path` in the records of a body; what lacks one is left out."""
    try:
        found = _part(body, framing.path)
        records = msgspec.json.decode(found, type=list[msgspec.Raw]) if framing.many else [found]
    except _NOT_THERE:
        return []
    return [text for record in records if (text := text_at(bytes(record), path)) is not None]


def _part(body: bytes, path: tuple[str, ...]) -> msgspec.Raw:
    part = msgspec.Raw(body)
    for name in path:
        part = msgspec.json.decode(part, type=dict[str, msgspec.Raw])[name]
    return part


def _until(date: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    aware = then if then.tzinfo else then.replace(tzinfo=UTC)
    return (aware - now).total_seconds()


def _beginning(response: httpx.Response) -> str:
    """The start of the body, as a hint; a body that cannot be read leaves the answer a no."""
    import httpx

    start = b""
    try:
        for chunk in response.iter_bytes(_SHOWN):
            start += chunk
            if len(start) >= _SHOWN:
                break
    except httpx.HTTPError as error:
        return f" ({type(error).__name__} while reading why)"
    text = " ".join(start[:_SHOWN].decode("utf-8", "replace").split())
    return f": {text}" if text else ""
