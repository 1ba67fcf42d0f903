"""CSV: what Python's csv module reads, checked strictly; one bad record never shifts another."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock as ps
from penstock.contract import Decoded, decode, delimited, spec
from penstock.interfaces import Framing

COMMA = Framing(delimiter=",")


class Word(ps.Contract):
    a: str
    b: str | None
    c: str


class All(ps.Contract):
    i: int
    f: float
    b: bool
    d: Annotated[Decimal, ps.Digits(10, 2)]
    at: datetime
    day: date
    kind: Literal["x", "y z"]
    t: ps.Text
    n: int | None


GOOD = {
    "i": "-12",
    "f": "1.5",
    "b": "true",
    "d": "1.20",
    "at": "2026-01-02T03:04:05.5Z",
    "day": "2026-01-02",
    "kind": "y z",
    "t": "007",
    "n": "",
}


def read(body: bytes, contract: type[ps.Contract] = Word, framing: Framing = COMMA) -> Decoded:
    return decode(spec(contract), pl.Series([body], dtype=pl.Binary), framing)


def written(rows: list[list[str]], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def one(**changed: str) -> Decoded:
    """Decode one record of `All`, among good ones, so that both ways of reading are taken."""
    fields = {**GOOD, **changed}
    rows = [list(GOOD), list(GOOD.values()), list(fields.values()), list(GOOD.values())]
    found = read(written(rows, csv.QUOTE_ALL), All)
    assert {0, 2} <= set(found.rows["_index"])
    return found


def test_every_type() -> None:
    assert one().rows.drop("_row", "_index").row(1, named=True) == {
        "i": -12,
        "f": 1.5,
        "b": True,
        "d": Decimal("1.20"),
        "at": datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC),
        "day": date(2026, 1, 2),
        "kind": "y z",
        "t": "007",
        "n": None,
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[
            ("i", text)
            for text in ("7.0", "1e3", "007", "+7", " 7", "7 ", "", "x", "٣", str(2**63))
        ],
        *[("f", text) for text in ("nan", "NaN", "inf", "1.", ".5", "1,5", "", "0x1", "1e999")],
        ("f", str(2**53 + 1)),
        *[("b", text) for text in ("True", "TRUE", "1", "yes", "", "true ")],
        *[("d", text) for text in ("1.234", "123456789.00", "1e9", "x", "")],
        *[("at", text) for text in ("2026-01-02T03:04:05", "2026-02-30T00:00:00Z", "now", "")],
        *[("day", text) for text in ("2026-02-30", "02.01.2026", "2026-1-2", "")],
        *[("kind", text) for text in ("z", "X", "", "x ")],
        *[("n", text) for text in ("null", "NULL", "7.0", "x")],
        ("t", "a\0b"),
    ],
)
def test_nothing_is_coerced(name: str, text: str) -> None:
    (failure,) = one(**{name: text}).failures
    assert (failure.row, failure.index, failure.cause.field) == (0, 1, name)
    assert failure.cause.stage == "decode"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("i", str(2**63 - 1), 2**63 - 1),
        ("i", "-0", 0),
        ("f", "1e3", 1000.0),
        ("f", "3", 3.0),
        ("f", "0.1", 0.1),
        ("f", "1.7976931348623157e308", 1.7976931348623157e308),
        ("d", "5", Decimal("5.00")),
        ("at", "2026-01-02T03:04:05+01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("t", "", ""),
        ("t", "1e400", "1e400"),
        ("n", "12", 12),
    ],
)
def test_what_is_read(name: str, text: str, value: object) -> None:
    found = one(**{name: text})
    assert found.failures == []
    assert found.rows[name][1] == value


def test_an_empty_field_is_null_only_where_it_may_be() -> None:
    found = read(b"a,b,c\n,,\n")
    assert found.rows.select("a", "b", "c").row(0) == ("", None, "")


def test_another_word_for_null() -> None:
    found = read(b"a;b;c\nNA;NA;\n;;\n", framing=Framing(delimiter=";", null="NA"))
    assert found.rows.select("a", "b", "c").rows() == [("NA", None, ""), ("", "", "")]


CELLS = st.text(st.sampled_from('ab," \n\r\té😀;'), max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=80), st.sampled_from([0, 1]))
def test_whatever_the_csv_module_writes_is_read_back(
    rows: list[tuple[str, str, str]], quoting: Literal[0, 1]
) -> None:
    body = written([["a", "b", "c"], *map(list, rows)], quoting)
    found = read(body)
    assert found.failures == []
    assert found.rows.select("a", "b", "c").rows() == [(a, b or None, c) for a, b, c in rows]
    pieces = delimited.split(body, COMMA)
    assert [n for n, _ in pieces] == list(range(len(rows)))
    for (_, piece), row in zip(pieces, rows, strict=True):
        assert read(piece).rows.select("a", "b", "c").rows() == [(row[0], row[1] or None, row[2])]


WILD = st.lists(st.sampled_from(['"', ",", "\n", "a", "b", '""', "\r\n", "é", "\r", "x,y,z\n"]))


@settings(deadline=None)
@given(WILD.map("".join).map(str.encode))
def test_what_is_read_is_what_the_csv_module_reads_where_that_is_strict(text: bytes) -> None:
    """The reference, on any text: strict, line by line."""
    try:
        rows = list(csv.reader(io.StringIO(text.decode(), newline="\n"), strict=True))
    except csv.Error:
        return
    found = read(b"a,b,c\n" + text)
    good = [(a, b or None, c) for a, b, c in (row for row in rows if len(row) == 3)]
    assert found.rows.select("a", "b", "c").rows() == good
    assert len(found.failures) == len(rows) - len(good)


@settings(deadline=None)
@given(WILD.map("".join).map(str.encode), WILD.map("".join).map(str.encode))
def test_cutting_into_pieces_changes_nothing(one: bytes, two: bytes) -> None:
    """Records that have ended are the same whatever follows, or is cut off."""
    head = b"a,b,c\n"
    body = head + one + b"\n" + two
    end = delimited.whole_records(body[: len(head) + len(one) + 1], ",")
    if end < len(head):
        return
    parts = [body[:end], head + body[end:]]
    apart = [read(part) for part in parts]
    whole = read(body)
    rows = pl.concat([found.rows for found in apart]).select("a", "b", "c")
    assert whole.rows.select("a", "b", "c").equals(rows)
    causes = [f.cause for found in apart for f in found.failures]
    assert [f.cause for f in whole.failures] == causes


BAD = {
    "ragged": (b"1,2", "2 fields where the header has 3"),
    "too many": (b"1,2,3,4", "4 fields where the header has 3"),
    "empty": (b"", "an empty line"),
    "stray quote": (b'1,"a"b,3', delimited._WRONG),
    "not UTF-8": (b"1,\xff,3", "not valid UTF-8"),
    "old newline": (b"1,a\rb,3", delimited._WRONG),
    "open quote": (b'1,"a,3', delimited._WRONG),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_harms_no_other(name: str) -> None:
    line, rule = BAD[name]
    good = b'"x, ""y""\nz",1,2\n'
    body = b"a,b,c\n" + good + (line + b"\n" + good) * 60
    found = read(body)
    assert found.rows["a"].to_list() == ['x, "y"\nz'] * 61
    assert {f.cause.rule for f in found.failures} == {rule}
    assert [f.index for f in found.failures] == list(range(1, 120, 2))


def test_a_quote_that_is_never_closed_costs_its_line_only() -> None:
    found = read(b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n')
    assert found.rows["a"].to_list() == ["1", "7"]
    assert [f.cause.rule for f in found.failures] == [delimited._WRONG]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "no header"),
        (b"a,b\n1,2\n", "the header lacks a column"),
        (b"a,b,c,a\n1,2,3,4\n", "the header names a column twice"),
        (b"a,\xff,b,c\n", "the header is not valid UTF-8"),
        ("a,b,c\n1,2,3\n".encode("utf-16"), "the header is not valid UTF-8"),
        (b'"a,b,c\n1,2,3\n', f"in the header, {delimited._WRONG}"),
        (b"1,2,3\n4,5,6\n", "the header lacks a column"),
    ],
)
def test_a_wrong_header_is_one_dead_letter(body: bytes, rule: str) -> None:
    found = read(body)
    assert (found.rows.height, [(f.index, f.cause.rule) for f in found.failures]) == (
        0,
        [(-1, rule)],
    )


def test_columns_are_found_by_name_and_others_ignored() -> None:
    bodies = [b"a,b,c\n1,2,3\n", b'\xef\xbb\xbf"c",x,x,a\r\n3,,,1\r\n']
    found = decode(spec(Word), pl.Series(bodies, dtype=pl.Binary), COMMA)
    assert found.rows.select("a", "b", "c").rows() == [("1", "2", "3"), ("1", None, "3")]


def test_columns_named_by_the_program() -> None:
    found = read(b"1\t2\t3\n", framing=Framing(delimiter="\t", columns=("c", "b", "a")))
    assert found.rows.select("a", "b", "c").rows() == [("3", "2", "1")]


def test_a_large_field_is_read() -> None:
    large = "x" * 500_000
    assert read(written([["a", "b", "c"], [large, "", large]])).rows["a"].to_list() == [large]


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "i": st.one_of(st.integers(-(2**64), 2**64).map(str), st.text("0123456789-+. e", max_size=6)),
    "f": st.one_of(st.floats().map(repr), st.text("0123456789-+.e", max_size=8)),
    "b": st.sampled_from(["true", "false", "True", ""]),
    "d": st.one_of(
        st.decimals(-(10**9), 10**9, places=2).map(str), st.text("0123456789.-", max_size=8)
    ),
    "at": st.one_of(st.datetimes().map(lambda t: t.isoformat() + "Z"), st.just("x")),
    "day": st.one_of(st.dates().map(str), st.text("0123456789-", max_size=10)),
    "kind": st.sampled_from(["x", "y z", "y"]),
    "t": st.text(max_size=5),
    "n": st.sampled_from(["", "1", "x"]),
}


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=5))
def test_many_are_read_as_each_alone_and_as_json_is(rows: list[dict[str, str]]) -> None:
    """By columns or one by one, the same rows and causes; a good row is what JSON would give."""
    body = written([list(FIELDS), *[list(row.values()) for row in rows]], csv.QUOTE_ALL)
    found = read(body, All)
    for at, row in enumerate(rows):
        mine = found.rows.filter(pl.col("_index") == at).drop("_index")
        alone = read(written([list(FIELDS), list(row.values())], csv.QUOTE_ALL), All)
        assert mine.equals(alone.rows.drop("_index"))
        causes = [f.cause for f in found.failures if f.index == at]
        assert causes == [f.cause for f in alone.failures]
        if mine.height:
            literal = {"i", "f", "d", "n", "b"}
            pairs = [
                f'"{name}": {text or "null" if name in literal else json.dumps(text)}'
                for name, text in row.items()
            ]
            json_rows = decode(spec(All), pl.Series([("{" + ", ".join(pairs) + "}").encode()])).rows
            assert mine.drop("_row").equals(json_rows.drop("_row", "_index"))
