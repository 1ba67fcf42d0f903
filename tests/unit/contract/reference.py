"""What decoding means, written a second time: slowly, with the standard library alone."""

from __future__ import annotations

import base64
import json
import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any


class Dead(Exception):
    pass


class Lit(str):
    """A number's literal."""


class Obj(list[Any]):
    """An object's pairs."""


def need(condition: object) -> None:
    if not condition:
        raise Dead


def reject(literal: str) -> None:
    raise Dead(literal)


def parse(document: bytes) -> Any:
    try:
        text = document.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=Obj, parse_int=Lit, parse_float=Lit, parse_constant=reject
        )
    except (ValueError, RecursionError):
        raise Dead from None
    need(depth(value) <= 100)
    return value


def depth(value: Any) -> int:
    if isinstance(value, tuple):
        return depth(value[1])
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def string(value: Any) -> str:
    need(isinstance(value, str) and not isinstance(value, Lit))
    need(not re.search("[\0\ud800-\udfff]", value))
    return str(value)


def choice(*values: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        need(string(value) in values)
        return str(value)

    return read


def text(value: Any) -> str:
    return str(value) if isinstance(value, Lit) else string(value)


def uuid_(value: Any) -> str:
    need(re.fullmatch("[0-9a-fA-F-]{36}", string(value)))
    try:
        found = uuid.UUID(value)
    except ValueError:
        raise Dead from None
    need(str(found) == value.lower())
    return str(found)


def integer(value: Any) -> int:
    need(isinstance(value, Lit) and re.fullmatch("-?[0-9]{1,25}", value))
    need(-(2**63) <= int(value) < 2**63)
    return int(value)


def number(value: Any) -> float:
    need(isinstance(value, Lit))
    found = float(value)
    need(math.isfinite(found))
    if re.fullmatch("-?[0-9]+", value):
        need(int(found) == Decimal(value))
    return found


def boolean(value: Any) -> bool:
    need(value is True or value is False)
    return bool(value)


def price(value: Any) -> Decimal:
    need(isinstance(value, str))
    need(re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?", value))
    found = Decimal(value)
    need(found * 100 == int(found * 100) and abs(found) < 10**10)
    return found


def day(value: Any) -> date:
    need(re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", string(value)))
    try:
        return date(*map(int, value.split("-")))
    except ValueError:
        raise Dead from None


def instant(value: Any) -> datetime:
    pattern = r"(.{10})[tT ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([zZ]|[-+][0-9]{2}:[0-9]{2})"
    match = re.fullmatch(pattern, string(value))
    need(match)
    assert match
    fraction = (match[3] or ".").rstrip("0").ljust(7, "0")
    need(len(fraction) == 7)
    zone = "+00:00" if match[4] in "zZ" else match[4]
    need(zone[4] < "6")
    try:
        return datetime.fromisoformat(f"{day(match[1])}T{match[2]}{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Dead from None


def data(value: Any) -> bytes:
    try:
        found = base64.b64decode(string(value).encode(), validate=True)
    except ValueError:
        raise Dead from None
    need(base64.b64encode(found) == value.encode())
    return found


def maybe(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def many(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def elements(value: Any) -> list[Any]:
        need(isinstance(value, list) and not isinstance(value, Obj))
        return [read(element) for element in value]

    return elements


def record(value: Any, fields: dict[str, Callable[[Any], Any]], optional: set[str]) -> Any:
    need(isinstance(value, Obj))
    row = {}
    for name, read in fields.items():
        found = [inner for given, inner in value if given == name]
        need(len(found) == 1 or (not found and name in optional))
        row[name] = read(found[0]) if found else None
    return row


LOGIN = {"uuid": uuid_, "note": maybe(string), "when": maybe(instant)}


def login(value: Any) -> Any:
    return record(value, LOGIN, {"note", "when"})


EVERYTHING: dict[str, Callable[[Any], Any]] = {
    "id": uuid_,
    "name": string,
    "gender": choice("female", "male"),
    "color": maybe(choice("red", "blue")),
    "age": maybe(integer),
    "price": price,
    "ok": boolean,
    "ratio": number,
    "day": day,
    "at": instant,
    "postcode": text,
    "blob": maybe(data),
    "tags": many(string),
    "logins": maybe(many(maybe(login))),
    "login": maybe(login),
    "class": string,
    "date_added": maybe(instant),
}
OPTIONAL = {"color", "age", "blob", "logins", "login", "date_added"}


def everything(document: bytes) -> dict[str, Any] | None:
    """Decode a document of `Everything` into a row by JSON names, or None if it is dead."""
    try:
        return record(parse(document), EVERYTHING, OPTIONAL)  # type: ignore[no-any-return]
    except Dead:
        return None
