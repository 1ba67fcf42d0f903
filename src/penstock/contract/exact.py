"""Decodes one JSON document slowly and exactly: this module defines what decoding means.

The fast way (`columns`) takes only what it can prove to be the same; all else comes here, and
every dead letter's cause is found here.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation
from typing import Any, NoReturn

from penstock.contract.types import (
    BoolType,
    BytesType,
    ChoiceType,
    DatetimeType,
    DateType,
    DecimalType,
    Field,
    FloatType,
    IntType,
    ListType,
    NestedType,
    StrType,
    TextType,
    Type,
    UuidType,
)
from penstock.interfaces import Cause

DEPTH = 100
"""How deep a document may be nested; deeper ones are dead on every engine alike."""

TOO_DEEP = f"nested deeper than {DEPTH} levels"
LARGEST = 16 << 20
"""How many bytes a document may have."""
CUT = "x" + secrets.token_hex(16)
"""Stands for what was nested too deep; nobody can send it."""
SPOILT = "x" + secrets.token_hex(16)
"""Stands for a byte that is not UTF-8."""

UUID_FORM = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
DATE_FORM = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_UUID = re.compile(UUID_FORM)
_DATE = re.compile(DATE_FORM)
_DATETIME = re.compile(
    rf"({DATE_FORM})[Tt ]([0-9]{{2}}):([0-9]{{2}}):([0-9]{{2}})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]')
_EXACT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])


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


def decode(document: bytes, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Decode one document into the values of a row.

    Raises:
        Problem: It is no record; says why.
    """
    if len(document) > LARGEST:
        raise Problem(f"larger than {LARGEST >> 20} MiB", document[:20])
    if document.lstrip(b" \t\r\n").startswith(b"["):
        raise Problem("expected an object, got a list", [document])
    try:
        document.decode()
    except UnicodeDecodeError as error:
        raise Problem("not valid UTF-8", document[error.start : error.start + 20]) from None
    value, flawed = parse(document, DEPTH)
    if flawed:
        raise Problem(flaw(value) or TOO_DEEP, document[:200])
    return record(value, fields)


def sound(document: bytes, fields: tuple[Field, ...]) -> bool:
    """Whether a document that is known to fit its types doubles no field and is not too deep."""
    try:
        text = document.decode()
        return shallow(text, DEPTH) == text and not _doubles(_PAIRS.decode(text), fields)
    except (ValueError, RecursionError):  # `decode` finds out why
        return False


def _doubles(value: Any, fields: tuple[Field, ...]) -> bool:
    """Whether an object, or one inside it, has a named field twice."""
    if isinstance(value, Pairs):
        given = dict(value)
        names = {f.json_name for f in fields}
        named = sum(name in names for name, _ in value)
        return named > len(names & given.keys()) or any(
            _doubles(given.get(f.json_name), f.type.inmost.fields)
            for f in fields
            if isinstance(f.type.inmost, NestedType)
        )
    return isinstance(value, list) and any(_doubles(element, fields) for element in value)


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


_PAIRS = json.JSONDecoder(object_pairs_hook=Pairs)
_JSON = json.JSONDecoder(
    object_pairs_hook=Pairs,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_not_a_number,
)


def record(value: Any, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Turn a parsed object into the values of one row.

    Raises:
        Problem: The object breaks a type of the contract.
    """
    if not isinstance(value, Pairs):
        raise Problem(f"expected an object, got {_kind(value)}", value)
    given = _unique(value, {f.json_name for f in fields})
    row = {}
    for field in fields:
        try:
            row[field.name] = _field(field, given)
        except Problem as problem:
            raise problem.inside(field.json_name) from None
    return row


def _unique(pairs: Pairs, names: set[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given and name in names:
            raise Problem("duplicate key", value, name)
        given[name] = value
    return given


def _field(field: Field, given: dict[str, Any]) -> Any:
    if field.json_name not in given:
        if field.nullable or field.is_born:
            return None
        raise Problem("the field is missing")
    return _slot(field.type, given[field.json_name], field.nullable)


def _slot(type: Type, value: Any, nullable: bool) -> Any:
    if value is not None:
        return convert(type, value)
    if nullable:
        return None
    raise Problem("null in a field that is not nullable", "null")


def convert(type: Type, value: Any) -> Any:
    """Turn a parsed value into what a column of the type holds.

    Raises:
        Problem: The value is not of the type, or not in its domain.
    """
    if isinstance(type, NestedType):
        return record(value, type.fields)
    if isinstance(type, ListType):
        return _list(type, value)
    return _SCALARS[type.kind](type, value)


def _list(type: ListType, value: Any) -> list[Any]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise _wrong(type, value)
    elements = []
    for number, element in enumerate(value):
        try:
            elements.append(_slot(type.element, element, type.nullable))
        except Problem as problem:
            raise problem.inside(str(number)) from None
    return elements


def _str(type: Type, value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise _wrong(type, value)
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
        raise _wrong(type, value)
    return value


def _uuid(type: Type, value: Any) -> str:
    text = _str(type, value)
    if not _UUID.fullmatch(text):
        raise _wrong(type, value)
    return text.lower()


def _int(type: Type, value: Any) -> int:
    if not isinstance(value, Number) or not value.lstrip("-").isdigit():
        raise _wrong(type, value)
    if len(value) > 20 or not -(2**63) <= int(value) < 2**63:
        raise Problem("an int beyond 64 bits", value)
    return int(value)


def _float(type: Type, value: Any) -> float:
    if not isinstance(value, Number):
        raise _wrong(type, value)
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
        raise _wrong(type, value)
    return value


def _decimal(type: Type, value: Any) -> Decimal:
    assert isinstance(type, DecimalType)  # noqa: S101
    if not isinstance(value, str) or not _NUMBER.fullmatch(value) or len(value) > 400:
        raise _wrong(type, value)
    try:
        number = _EXACT.create_decimal(value).quantize(
            Decimal(1).scaleb(-type.scale), context=_EXACT
        )
    except (Inexact, InvalidOperation):
        raise _wrong(type, value) from None
    if number and number.adjusted() >= type.precision - type.scale:
        raise _wrong(type, value)
    return number if number else number.copy_abs()


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def _date(type: Type, value: Any) -> date:
    text = _str(type, value)
    if not _DATE.fullmatch(text):
        raise _wrong(type, value)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("no such date", value) from None


def _datetime(type: Type, value: Any) -> datetime:
    text = _str(type, value)
    match = _DATETIME.fullmatch(text)
    if not match:
        raise _wrong(type, value)
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
        raise _wrong(type, value) from None
    if b64encode(decoded).decode() != text:
        raise _wrong(type, value)
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


def _wrong(type: Type, value: Any) -> Problem:
    return Problem(f"expected {type.words}, got {_kind(value)}", value)


def _kind(value: Any) -> str:
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
