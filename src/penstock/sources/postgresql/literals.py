"""From PostgreSQL's text of a value to JSON: nothing is rounded, cut or guessed.

What JSON has no literal for (NaN, infinity, a date before Christ) is a string with PostgreSQL's own
words, so that the contract decides. The session must have `TimeZone` UTC, `DateStyle` ISO and
`bytea_output` hex.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

import msgspec

Literal = Callable[[bytes], bytes]
"""Makes JSON of a value's text."""

_STRING = msgspec.json.Encoder().encode
_ESCAPES = {bytes([byte]): b"\\u%04x" % byte for byte in range(0x20)} | {
    b'"': b'\\"',
    b"\\": b"\\\\",
}
_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def text(value: bytes) -> bytes:
    """A string. Bytes that are no UTF-8 stay as they are, for the contract to refuse."""
    try:
        return _STRING(value.decode())
    except UnicodeDecodeError:
        return b'"' + _ESCAPED.sub(lambda found: _ESCAPES[found[0]], value) + b'"'


def plain(value: bytes) -> bytes:
    """A string of a type whose text has nothing to escape."""
    return b'"%b"' % value


def integer(value: bytes) -> bytes:
    """A whole number."""
    return value


def number(value: bytes) -> bytes:
    """A number with all its digits; NaN and infinity are strings."""
    return value if value[-1:].isdigit() else b'"%b"' % value


def boolean(value: bytes) -> bytes:
    """True or false."""
    return b"true" if value == b"t" else b"false"


def document(value: bytes) -> bytes:
    """JSON, as it is, on one line: a newline between its parts becomes a space."""
    return value.replace(b"\n", b" ").replace(b"\r", b" ")


def binary(value: bytes) -> bytes:
    r"""Bytes, written as `\x` and hexadecimal digits, as base64."""
    return b'"%b"' % binascii.b2a_base64(binascii.unhexlify(value[2:]), newline=False)


def instant(value: bytes) -> bytes:
    """A point in time, in UTC; infinity, years above 9999 and before Christ as they are."""
    if value[10:11] == b" " and value.endswith(b"+00"):
        return b'"%bT%bZ"' % (value[:10], value[11:-3])
    return b'"%b"' % value


def moment(value: bytes) -> bytes:
    """A date and time without a zone."""
    if value[10:11] == b" " and value[-1:].isdigit():
        return b'"%bT%b"' % (value[:10], value[11:])
    return b'"%b"' % value


def array(element: Literal, delimiter: str = ",") -> Literal:
    """An array of these; arrays of arrays are nested, and lower bounds other than 1 are dropped."""
    marks = {b"{": b"[", b"}": b"]", delimiter.encode(): b","}
    between = re.escape(delimiter)
    tokens = re.compile(
        rf'[{{}}{between}]|"((?:[^"\\]|\\.)*)"|[^{{}}{between}"]+'.encode(), re.DOTALL
    )

    def encode(value: bytes) -> bytes:
        if value.startswith(b"["):
            value = value[value.index(b"=") + 1 :]
        made: list[bytes] = []
        for token in tokens.finditer(value):
            part = token[0]
            if part[:1] == b'"':
                made.append(element(_ESCAPE.sub(rb"\1", token[1])))
            elif mark := marks.get(part):
                made.append(mark)
            else:
                made.append(b"null" if part == b"NULL" else element(part))
        return b"".join(made)

    return encode


BUILT_IN: dict[int, Literal] = {
    16: boolean,
    17: binary,
    20: integer,
    21: integer,
    23: integer,
    26: integer,
    114: document,
    700: number,
    701: number,
    1082: plain,
    1083: plain,
    1114: moment,
    1184: instant,
    1266: plain,
    1700: number,
    2950: plain,
    3802: document,
}
"""By the type's OID; of all others, those that are not arrays or domains are `text`."""
