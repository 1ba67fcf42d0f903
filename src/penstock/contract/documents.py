"""Parses JSON documents without losing anything: number literals, doubled names, flaws."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, NoReturn

from penstock.records import Cause

DEPTH = 100
"""How deep a document may be nested; deeper ones are dead on every engine alike."""

TOO_DEEP = f"nested deeper than {DEPTH} levels"
LARGEST = 16 << 20
"""How many bytes a document may have."""
CUT = "x" + secrets.token_hex(16)
"""Stands for what was nested too deep; nobody can send it."""
SPOILT = "x" + secrets.token_hex(16)
"""Stands for a byte that is not UTF-8."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]')


class Problem(Exception):
    """Why a document is no record: becomes a `Cause`."""

    def __init__(self, rule: str, value: Any = None, field: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.field = field
        self.value = value

    def inside(self, name: str) -> Problem:
        """Put a name before the field's path."""
        self.field = f"{name}.{self.field}" if self.field else name
        return self

    def cause(self) -> Cause:
        """The cause for a dead letter."""
        return Cause("decode", self.rule, self.field, show(self.value))


class Number(str):
    """A JSON number, as it was written."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """A JSON object, with every pair that was written."""

    __slots__ = ()


def show(value: Any) -> str:
    """Show an offending value as JSON, shortened."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return repr(value[:200])[2:-1][:200]
    if isinstance(value, Number):
        return value[:200]
    if isinstance(value, str):
        return (
            json.dumps(value[:200], ensure_ascii=False)
            .encode(errors="backslashreplace")
            .decode()[:200]
        )
    if isinstance(value, Pairs):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return "[…]" if value else "[]"
    return {True: "true", False: "false"}[value]


def parse(document: bytes, depth: int) -> tuple[Any, bool]:
    """Parse one JSON document, keeping number literals and duplicate keys.

    Returns:
        The value, and whether there are flaws in it (see `flaw`): `CUT` stands where it was nested
        deeper than `depth`, and `SPOILT` in place of bytes that are not UTF-8.

    Raises:
        Problem: It is not one document of JSON.
    """
    whole = _SURROGATES.sub(SPOILT, document.decode(errors="surrogateescape"))
    if not whole.strip(" \t\r\n"):
        raise Problem("empty")
    if whole.startswith("\ufeff"):
        raise Problem("begins with a byte order mark")
    text = shallow(whole, depth)
    try:
        return _JSON.decode(text), text != whole or SPOILT in text
    except json.JSONDecodeError as error:
        rule = "something follows the document" if error.msg == "Extra data" else "not JSON"
        raise Problem(rule, text[error.pos : error.pos + 20]) from None


def shallow(text: str, depth: int) -> str:
    """Replace what is nested deeper than `depth` by a string that nobody can guess."""
    if text.count("[") + text.count("{") <= depth:
        return text
    kept, start, level = [], 0, 0
    for match in _TOKENS.finditer(text):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if level == depth + 1 and match[0] in "[{":
            kept.append(text[start : match.start()])
            start = len(text)
        elif level == depth and match[0] in "]}":
            kept.append(f'"{CUT}"')
            start = match.end()
    return "".join([*kept, text[start:]])


def flaw(value: Any) -> str:
    """Say which flaw a parsed value holds somewhere; nothing if none."""
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(flaw, value)), "")
    if not isinstance(value, str):
        return ""
    return TOO_DEEP if value == CUT else "not valid UTF-8" if SPOILT in value else ""


def _not_a_number(literal: str) -> NoReturn:
    raise Problem(f"{literal} is not JSON")


PAIRS = json.JSONDecoder(object_pairs_hook=Pairs)
"""Parses and keeps doubled names; numbers may be rounded."""
_JSON = json.JSONDecoder(
    object_pairs_hook=Pairs,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_not_a_number,
)


def kind_of(value: Any) -> str:
    """Name the JSON type of a parsed value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, Number):
        return "an int" if value.lstrip("-").isdigit() else "a number with a fraction"
    if isinstance(value, str):
        return "a str"
    return "an object" if isinstance(value, Pairs) else "a list"
