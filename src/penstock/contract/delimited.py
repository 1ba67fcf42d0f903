"""Reads CSV: a header and records, whose fields are text that must be written as its type is.

A value of a log is one document: a header line (unless the framing names the columns), then
records that end in a newline, as RFC 4180 has it. A quote has a meaning only at the beginning of a
field. A record whose quotes are wrong ends with its first line: the next line is a record again.

A field is read as the string or number of a JSON document would be: nothing is trimmed or
coerced. See docs/howto/files-in.md for the rules.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import polars as pl

from penstock.contract import exact
from penstock.contract.columns import plain
from penstock.contract.documents import LARGEST, Number, Pairs, Problem
from penstock.contract.forms import NUMBER
from penstock.contract.spec import ContractSpec
from penstock.contract.types import Type
from penstock.interfaces import Framing
from penstock.records import WHOLE

_MARK = "\ufeff"
_NUMBERS = frozenset({"int", "float", "decimal"})
_IS_NUMBER = re.compile(NUMBER)
_BROKEN = re.compile("[\udc80-\udcff]")

Row = list[str]
Wrong = tuple[int, int, Problem]
"""Row, index and problem of a record."""


@dataclass
class Table:
    """What was read of some values.

    Args:
        rows: The contract's columns.
        places: For each row the number of its value, and its number in the value.
        wrong: What is no record.
    """

    rows: pl.DataFrame
    places: list[tuple[int, int]]
    wrong: list[Wrong]


@dataclass
class _Gathered:
    """Fields of many records, by the contract's fields; null where a column is missing."""

    columns: list[list[str | None]]
    places: list[tuple[int, int]] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)


def read(spec: ContractSpec, values: pl.Series, framing: Framing) -> Table:
    """Read values; no record can alter how another one is read."""
    found = _Gathered([[] for _ in spec.fields])
    for number, body in enumerate(values.to_list()):
        try:
            _gather(spec, number, body, framing, found)
        except Problem as problem:
            found.wrong.append((number, WHOLE, problem))
    columns = [
        pl.Series(texts, dtype=pl.String).replace({framing.null: None})
        if f.nullable or f.is_born
        else pl.Series(texts, dtype=pl.String)
        for f, texts in zip(spec.fields, found.columns, strict=True)
    ]
    read = plain(spec.fields, columns)
    if not read.doubt.any():
        return Table(read.frame, found.places, found.wrong)
    return _decided(spec, read.frame, read.doubt, columns, found)


def split(body: bytes, framing: Framing) -> list[tuple[int, bytes]]:
    """Cut a document into documents of one record each, with their numbers."""
    lines = _lines_of(body)
    spans = list(_spans(_texts(lines), framing.delimiter))
    head = b"" if framing.columns or not spans else b"".join(lines[: spans[0][1]])
    found = spans if framing.columns else spans[1:]
    return [(number, head + b"".join(lines[a:b])) for number, (a, b, _) in enumerate(found)]


def whole_records(body: bytes, delimiter: str) -> int:
    """How many bytes of a body are records that have ended, whatever follows them."""
    end = body.rfind(b"\n") + 1
    if b'"' not in body or _is_sound(body[:end], delimiter):
        return end
    lines = _lines_of(body[:end])
    for start, _, problem in _spans(_texts(lines), delimiter):
        if problem == _OPEN:
            return sum(map(len, lines[:start]))
    return end


def _is_sound(body: bytes, delimiter: str) -> bool:
    """Whether all quotes are as they should be, the last one closed; looks at nothing else."""
    text = body.decode(errors="surrogateescape").removeprefix(_MARK)
    try:
        deque(_reader(io.StringIO(text, newline="\n"), delimiter), maxlen=0)
    except csv.Error:
        return False
    return True


def first_record(body: bytes, delimiter: str) -> int:
    """How many bytes the first record has; 0 when it has not ended."""
    lines = _lines_of(body[: body.rfind(b"\n") + 1])
    for _, stop, problem in _spans(_texts(lines), delimiter):
        return 0 if problem == _OPEN else sum(map(len, lines[:stop]))
    return 0


def document(record: Mapping[str, Any], framing: Framing) -> bytes:
    """Write one record as CSV, as a test would have it come."""
    words = {True: "true", False: "false", None: framing.null}
    text = io.StringIO()
    writer = csv.writer(text, delimiter=framing.delimiter, lineterminator="\n")
    names = framing.columns or tuple(record)
    if not framing.columns:
        writer.writerow(names)
    given = [record.get(name) for name in names]
    writer.writerow([words[v] if v is None or isinstance(v, bool) else str(v) for v in given])
    return text.getvalue().encode()


# --- cutting -------------------------------------------------------------------------------------

_OPEN = "a quote is not closed"
_STRAY = "something follows a closing quote"
_RETURN = "a carriage return without a newline"
_WRONG = "wrong quotes, or a carriage return without a newline"
"""Which of the three it is may depend on what follows; the cause of a dead letter must not."""


def _lines_of(body: bytes) -> list[bytes]:
    """Lines with their newlines; other ends of a line are none."""
    return list(io.BytesIO(body))


def _texts(lines: Sequence[bytes]) -> list[str]:
    texts = [line.decode(errors="surrogateescape") for line in lines]
    return [texts[0].removeprefix(_MARK), *texts[1:]] if texts else []


def _spans(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, int, str]]:
    """First line, line after the last, and problem of each record."""
    at = 0
    while at < len(lines):
        reader = _reader(islice(lines, at, None), delimiter)
        start = at
        try:
            for _ in reader:
                yield start, at + reader.line_num, ""
                start = at + reader.line_num
            return
        except csv.Error as error:
            yield start, start + 1, _words(error)
            at = start + 1


def _reader(lines: Iterator[str], delimiter: str) -> Any:
    if csv.field_size_limit() < LARGEST:  # it holds for the process, and is too small for a field
        csv.field_size_limit(LARGEST)
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _words(error: csv.Error) -> str:
    said = str(error)
    if "end of data" in said:
        return _OPEN
    if "expected after" in said:
        return _STRAY
    return _RETURN if "new-line" in said else said


def _records(text: str, delimiter: str) -> tuple[list[Row], dict[int, Problem]]:
    """The fields of each record, and what is wrong with some."""
    rows: list[Row] = []
    try:
        rows.extend(_reader(io.StringIO(text, newline="\n"), delimiter))
    except csv.Error:
        return _records_one_by_one(list(io.StringIO(text, newline="\n")), delimiter)
    return rows, {}


def _records_one_by_one(
    lines: Sequence[str], delimiter: str
) -> tuple[list[Row], dict[int, Problem]]:
    rows: list[Row] = []
    wrong: dict[int, Problem] = {}
    for start, stop, problem in _spans(lines, delimiter):
        if problem:
            rule = _WRONG if problem in (_OPEN, _STRAY, _RETURN) else problem
            wrong[len(rows)] = Problem(rule, lines[start].rstrip("\r\n"))
            rows.append([])
        else:
            rows += _reader(islice(lines, start, stop), delimiter)
    return rows, wrong


# --- from text to values -------------------------------------------------------------------------


def _gather(
    spec: ContractSpec, number: int, body: bytes, framing: Framing, found: _Gathered
) -> None:
    """Take in the records of one value; raises `Problem` when its header is no good."""
    try:
        text, sound = body.decode(), True
    except UnicodeDecodeError:
        text, sound = body.decode(errors="surrogateescape"), False
    rows, wrong = _records(text.removeprefix(_MARK), framing.delimiter)
    header = list(framing.columns)
    if not header:
        header = _header(rows, wrong, body)
        rows, wrong = rows[1:], {at - 1: problem for at, problem in wrong.items()}
    places = _columns_of(spec, header)
    for at, row in enumerate(rows):
        if at not in wrong and (rule := _flaw(row, len(header), sound)):
            wrong[at] = Problem(rule, framing.delimiter.join(row))
    good = [at for at in range(len(rows)) if at not in wrong] if wrong else range(len(rows))
    kept = [rows[at] for at in good] if wrong else rows
    columns = list(zip(*kept, strict=True)) if kept else [()] * len(header)
    for texts, place in zip(found.columns, places, strict=True):
        texts += [None] * len(kept) if place is None else columns[place]
    found.places += [(number, at) for at in good]
    found.wrong += [(number, at, problem) for at, problem in wrong.items()]


def _header(rows: list[Row], wrong: Mapping[int, Problem], body: bytes) -> Row:
    if not rows:
        raise Problem("no header", body[:200])
    if 0 in wrong:
        raise Problem(f"in the header, {wrong[0].rule}", wrong[0].value)
    if _BROKEN.search("".join(rows[0])):
        raise Problem("the header is not valid UTF-8", body[:200])
    return rows[0]


def _columns_of(spec: ContractSpec, header: Sequence[str]) -> list[int | None]:
    """For each field of the contract its column; None for one that may be missing and is."""
    places: list[int | None] = []
    for f in spec.fields:
        named = [at for at, name in enumerate(header) if name == f.json_name]
        if len(named) > 1:
            raise Problem("the header names a column twice", ",".join(header), f.json_name)
        if not named and not (f.nullable or f.is_born):
            raise Problem("the header lacks a column", ",".join(header), f.json_name)
        places.append(named[0] if named else None)
    return places


def _flaw(row: Row, width: int, sound: bool) -> str:
    if len(row) != width:
        return f"{len(row)} fields where the header has {width}" if row else "an empty line"
    if not sound and _BROKEN.search("".join(row)):
        return "not valid UTF-8"
    return ""


def _decided(
    spec: ContractSpec,
    frame: pl.DataFrame,
    doubt: pl.Series,
    columns: Sequence[pl.Series],
    found: _Gathered,
) -> Table:
    """With what only `exact` can tell."""
    slow: list[dict[str, Any]] = []
    gone: list[int] = []
    wrong = list(found.wrong)
    for at in doubt.arg_true().to_list():
        texts = [column[at] for column in columns]
        pairs = [
            (f.json_name, _value(f.type, text)) for f, text in zip(spec.fields, texts, strict=True)
        ]
        try:
            slow.append(exact.record(Pairs(pairs), spec.fields))
        except Problem as problem:
            gone.append(at)
            wrong.append((*found.places[at], problem))
    taken = frame.with_row_index("_at").filter(~doubt)
    held = sorted(set(doubt.arg_true().to_list()) - set(gone))
    late = pl.DataFrame(slow, schema=spec.polars, orient="row").with_columns(
        pl.Series("_at", held, pl.UInt32)
    )
    rows = pl.concat([taken, late.select(taken.columns)]).sort("_at")
    places = [found.places[at] for at in rows["_at"]]
    return Table(rows.drop("_at"), places, wrong)


def _value(type: Type, text: str | None) -> Any:
    """What a JSON document would hold in place of a field."""
    if text is None:
        return None
    if type.kind == "bool":
        return {"true": True, "false": False}.get(text, text)
    is_number = type.kind in _NUMBERS and _IS_NUMBER.fullmatch(text)
    return Number(text) if is_number else text
