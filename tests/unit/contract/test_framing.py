from __future__ import annotations

import polars as pl
import pytest

import penstock.contract as ps
from penstock.interfaces import Framing
from penstock.records import WHOLE

from .everything import Everything, document

pytestmark = pytest.mark.usefixtures("each_way")

SPEC = ps.spec(Everything)
RECORDS = Framing(path=("data", "records"), many=True)


def body(*elements: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    inner = b'"records":[' + b",".join(elements) + b"]" + after
    return b"{" + before + b'"data":{' + inner + b"}}"


def decode(framing: Framing, *bodies: bytes) -> ps.Decoded:
    return ps.decode(SPEC, pl.Series(bodies, dtype=pl.Binary), framing)


def outcome(framing: Framing, *bodies: bytes) -> tuple[list[object], list[object]]:
    """Ages and places of the rows; places and rules of the failures."""
    decoded = decode(framing, *bodies)
    rows = decoded.rows.select("_row", "_index", "age").rows()
    return [*rows], [(f.row, f.index, f.cause.rule) for f in decoded.failures]


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"[1", "not JSON"),
        (b"{}", "the field is missing"),
        (b"[]", "expected an object on the way to the records"),
        (b'{"data":1}', "expected an object on the way to the records"),
        (b'{"data":{"records":{}}}', "expected a list of records"),
        (body() + b"1", "something follows the document"),
        (body()[:-1], "not JSON"),
        (body(after=b',"records":[]'), "duplicate key"),
        (body(before=b'"data":{},'), "duplicate key"),
        (body(before=b'"d\\u0061ta":{},'), "duplicate key"),
        (b"\xef\xbb\xbf" + body(), "begins with a byte order mark"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_body_that_cannot_be_cut_is_one_failure(broken: bytes, rule: str) -> None:
    rows, failures = outcome(RECORDS, body(document(age="1")), broken, body(document(age="2")))
    assert rows == [(0, 0, 1), (2, 0, 2)]
    assert failures == [(1, WHOLE, rule)]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (b"1", "expected an object, got an int"),
        (b"[]", "expected an object, got a list"),
        (document(name=r'"\ud800"'), "a lone surrogate in a str"),
        (document(name='"~"').replace(b"~", b"\xff"), "not valid UTF-8"),
        (document(extra='"~"').replace(b"~", b"\xff"), "not valid UTF-8"),
        (document(extra="[" * 200 + "]" * 200), "nested deeper than 100 levels"),
        (document(extra="[" * 100_000 + "]" * 100_000), "nested deeper than 100 levels"),
        (document()[:-1] + b',"ok":true}', "duplicate key"),
    ],
)
@pytest.mark.parametrize("before", [b"", rb'"x":"\ud800",', b'"x":{"data":1},'])
def test_a_bad_element_is_alone(bad: bytes, rule: str, before: bytes) -> None:
    elements = document(age="1"), bad, document(age="2")
    rows, failures = outcome(RECORDS, body(*elements, before=before))
    assert rows == [(0, 0, 1), (0, 2, 2)]
    assert failures == [(0, 1, rule)]


def test_one_record_at_a_path() -> None:
    framing = Framing(path=("data",))
    rows, failures = outcome(framing, b'{"data":' + document(age="4") + b"}", b'{"data":null}')
    assert rows == [(0, 0, 4)]
    assert failures == [(1, 0, "expected an object, got null")]


def test_a_body_may_be_the_list_and_may_be_empty() -> None:
    framing = Framing(many=True)
    bodies = b"[" + document(age="1") + b" , " + document(age="2") + b"\n]", b"[]", b"{}"
    rows, failures = outcome(framing, *bodies)
    assert rows == [(0, 0, 1), (0, 1, 2)]
    assert failures == [(2, WHOLE, "expected a list of records")]


def test_lines() -> None:
    lines = b"\n".join([document(age="1") + b"\r", b"", b"{", document(age="2")])
    rows, failures = outcome(Framing(lines=True), lines, lines + b"\n", b"")
    assert rows == [(0, 0, 1), (0, 3, 2), (1, 0, 1), (1, 3, 2)]
    assert failures == [(b, n, r) for b in (0, 1) for n, r in ((1, "empty"), (2, "not JSON"))]


def test_lines_hold_one_record_each() -> None:
    with pytest.raises(ValueError, match="a line is a record"):
        decode(Framing(lines=True, many=True), b"")


def test_many_records_are_cut_in_order() -> None:
    documents = [document(age=str(n)) for n in range(5000)]
    decoded = decode(RECORDS, body(*documents), body(*documents))
    assert decoded.rows["age"].to_list() == [*range(5000)] * 2
    assert decoded.rows["_index"].to_list() == [*range(5000)] * 2
    assert decoded.failures == []
