"""Cuts values of a log into the documents of their records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import polars as pl

from penstock.contract import delimited
from penstock.contract.documents import DEPTH, Pairs, Problem, flaw, parse
from penstock.contract.fast import ESCAPED_NAME, names_pattern
from penstock.contract.forms import utf8
from penstock.interfaces import Framing
from penstock.records import WHOLE

LARGEST_BODY = 64 << 20
"""How many bytes a body may have that only the exact way can cut (it needs ten times as much)."""


@dataclass
class Pieces:
    """Documents with their places, in order, and what could not be cut out as bytes.

    Args:
        documents: The bytes of each record.
        rows: For each document the number of its value.
        indexes: For each document its number in the value.
        parsed: Row, index and parsed value of records of bodies that needed the exact way.
        problems: Row, index and problem of the values and elements that are no documents.
        gone: Row, index and key document of what was deleted.
    """

    documents: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    parsed: list[tuple[int, int, Any]] = field(default_factory=list)
    problems: list[tuple[int, int, Problem]] = field(default_factory=list)
    gone: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add(self, row: int, documents: Iterable[Any]) -> None:
        """Append the documents of one value."""
        self.documents += map(bytes, documents)
        new = len(self.documents) - len(self.rows)
        self.rows += [row] * new
        self.indexes += range(new)


def cut(values: pl.Series, framing: Framing) -> Pieces:
    """Cut values into documents; no value or element can alter how another is cut.

    Lines that are changes are cut as lines here; `changes.cut` looks into them. CSV is cut into
    documents of one record; `delimited.read` reads many at once.
    """
    if framing.lines and (framing.path or framing.many):
        raise ValueError("a line is a record: `lines` goes with neither `path` nor `many`")
    bodies = values.to_list()
    if framing == Framing():
        return Pieces(bodies, list(range(len(bodies))), [0] * len(bodies))
    pieces = Pieces()
    if framing.delimiter:
        for row, body in enumerate(bodies):
            for index, document in delimited.split(body, framing):
                pieces.documents.append(document)
                pieces.rows.append(row)
                pieces.indexes.append(index)
        return pieces
    if framing.lines or framing.changes:
        for row, body in enumerate(bodies):
            pieces.add(row, lines(body))
        return pieces
    for row, (body, once) in enumerate(zip(bodies, _named_once(values, framing.path), strict=True)):
        if not (once and _cut_fast(pieces, row, body, framing)):
            _cut_exactly(pieces, row, body, framing)
    return pieces


def lines(body: bytes) -> list[bytes]:
    """Split into lines; a last one without a newline counts."""
    found = body.split(b"\n")
    return found if found[-1] else found[:-1]


def _named_once(values: pl.Series, path: tuple[str, ...]) -> list[bool]:
    """Where it is proven that no name of the path occurs twice."""
    if not path:
        return [True] * len(values)
    pattern = names_pattern(frozenset(path))
    if pattern is None or len(set(path)) < len(path):
        return [False] * len(values)
    text = pl.col("text")
    once = (text.str.count_matches(pattern) <= len(path)) & ~text.str.contains(ESCAPED_NAME)
    texts = pl.DataFrame({"text": utf8(values)})
    return texts.select(once.fill_null(False)).to_series().to_list()


def _cut_fast(pieces: Pieces, row: int, body: bytes, framing: Framing) -> bool:
    """Cut without looking into the records; False when the exact way must try."""
    try:
        found = _envelope(framing.path, framing.many).decode(body)
    except (ValueError, RecursionError):
        return False
    for _ in framing.path:
        found = found.inner
    pieces.add(row, found if framing.many else [found])
    return True


@cache
def _envelope(path: tuple[str, ...], many: bool) -> msgspec.json.Decoder[Any]:
    """Decode the path to the records, and keep them as they are."""
    type_: Any = list[msgspec.Raw] if many else msgspec.Raw
    for name in reversed(path):
        type_ = msgspec.defstruct("Envelope", [("inner", type_)], rename={"inner": name})
    return msgspec.json.Decoder(type_)


def _cut_exactly(pieces: Pieces, row: int, body: bytes, framing: Framing) -> None:
    """Cut by parsing everything; says why a body cannot be cut."""
    try:
        if len(body) > LARGEST_BODY:
            raise Problem(f"larger than {LARGEST_BODY >> 20} MiB and not plain", body[:20])
        whole, flawed = parse(body, DEPTH + len(framing.path) + framing.many)
        found = _walk(whole, framing.path)
        if framing.many and not _is_list(found):
            raise Problem("expected a list of records", found, ".".join(framing.path))
    except Problem as problem:
        pieces.problems.append((row, WHOLE, problem))
        return
    for index, element in enumerate(found if framing.many else [found]):
        if flawed and (rule := flaw(element)):
            pieces.problems.append((row, index, Problem(rule, element)))
        else:
            pieces.parsed.append((row, index, element))


def _walk(value: Any, path: tuple[str, ...]) -> Any:
    for depth, name in enumerate(path):
        where = ".".join(path[: depth + 1])
        if not isinstance(value, Pairs):
            raise Problem("expected an object on the way to the records", value, where)
        found = [inner for given, inner in value if given == name]
        if len(found) != 1:
            raise Problem("duplicate key" if found else "the field is missing", None, where)
        value = found[0]
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Pairs)
