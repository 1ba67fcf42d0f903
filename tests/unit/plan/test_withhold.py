from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps
from penstock import testing
from penstock.contract import spec
from penstock.contract.decode import PLAIN
from penstock.errors import DeclarationError
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.plan import BATCH_SCHEMA
from penstock.plan.withhold import is_withheld, withhold

NOBODY = '{"a":{"b":[]}}'
MARKER = "Zq7xMarker5kWv"
KEY = ps.env("TESTS_MASK_KEY")


class Inner(ps.Contract):
    street: str = ps.masked("redact")
    city: str


class Person(ps.Contract):
    id: Annotated[str, ps.masked("hash", key=KEY)] = ps.key()
    number: int
    email: str = ps.masked("partial", after="@")
    inner: Inner | None
    inners: list[Inner] | None
    price: float | None


class Keyed(ps.Contract):
    id: str = ps.key()
    email: str = ps.masked("redact")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_MASK_KEY", "a key that is long enough")


def kept(value: bytes, framing: Framing = PLAIN) -> bytes:
    records = pl.DataFrame(
        [(0, 1, MARKER.encode(), value, MARKER.encode(), None, 1)],
        schema=BATCH_SCHEMA,
        orient="row",
    )
    found = withhold(spec(Person), framing, ("id",), records)
    assert found.schema == records.schema
    assert is_withheld(found).all()
    again = withhold(spec(Person), framing, ("id",), found)
    assert again.equals(found)
    assert found["key"].to_list() == [b"masked"]
    assert MARKER.encode() not in found["headers"][0]
    return bytes(found["value"][0])


def test_fields_that_are_not_masked_are_kept_as_they_were_written() -> None:
    document = {
        "id": MARKER,
        "number": 12345678901234567890123,
        "email": {"x": MARKER},
        "inner": {"street": MARKER, "city": "é", MARKER: 1},
        "inners": [{"city": "b", "street": [MARKER]}, MARKER],
        "price": None,
        "emial": MARKER,
    }
    text = json.dumps(document).replace("null", "1.50e3")
    assert kept(text.encode()).decode() == (
        '{"id":"masked","number":12345678901234567890123,"email":"masked",'
        '"inner":{"street":"masked","city":"\\u00e9"},'
        '"inners":[{"city":"b","street":"masked"},"masked"],"price":1.50e3}'
    )


@pytest.mark.parametrize(
    ("framing", "value", "rest"),
    [
        (Framing(), MARKER, '"masked"'),
        (Framing(), f'"{MARKER}"', '"masked"'),
        (Framing(), f'{{"{MARKER}": "{MARKER}"}}', "{}"),
        (Framing(path=("a", "b"), many=True), f'{{"x":"{MARKER}","a":{{"b":[]}}}}', NOBODY),
        (Framing(path=("a",)), f'{{"a":1,"a":"{MARKER}"}}', '"masked"'),
        (Framing(path=("a",), many=True), f'{{"a":"{MARKER}"}}', '{"a":"masked"}'),
        (Framing(lines=True), f'{{"number":1}}\n{MARKER}\n', '{"number":1}\n"masked"\n"masked"'),
        (
            Framing(changes=True),
            f'{{"op":"delete","key":{{"id":"{MARKER}"}},"{MARKER}":1}}\n{MARKER}',
            '{"op":"delete","key":{"id":"masked"}}\n"masked"',
        ),
        (Framing(changes=True), f'{{"op":"{MARKER}","after":"{MARKER}"}}', '{"after":"masked"}'),
    ],
)  # fmt: skip
def test_what_is_no_record_is_withheld(framing: Framing, value: str, rest: str) -> None:
    assert kept(value.encode(), framing).decode() == rest


MARKED: st.SearchStrategy[Any] = st.recursive(
    st.just(MARKER),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["id", "email", "inner", "inners", "street", MARKER, "x"]), inner
        )
    ),
)


@given(MARKED, st.booleans(), st.binary(max_size=3))
def test_no_document_keeps_a_masked_value(value: Any, many: bool, junk: bytes) -> None:
    text = json.dumps({"results": value} if many else value).encode()
    for body in (text, text + junk, junk + text):
        for framing in (
            Framing(),
            Framing(path=("results",), many=many),
            Framing(lines=True),
            Framing(changes=True),
        ):
            assert MARKER.encode() not in kept(body, framing)


def test_a_key_that_is_not_masked_is_kept() -> None:
    records = pl.DataFrame({"key": [b"k"], "value": [None], "headers": [None]}).cast(
        dict.fromkeys(("key", "value", "headers"), pl.Binary)
    )
    assert withhold(spec(Keyed), Framing(), ("id",), records)["key"].to_list() == [b"k"]
    assert withhold(spec(Keyed).masked, Framing(), ("id",), records) is records


def test_a_topic_of_ones_own_is_not_masked_again() -> None:
    seen = []

    def look(rows: pl.DataFrame) -> pl.DataFrame:
        seen.extend(rows["id"].to_list())
        return rows.select("id", "email")

    class Told(ps.Contract):
        id: str = ps.key()
        email: str

    pipeline = ps.Pipeline("masks")
    people = pipeline.topic("raw", Person).topic("people")
    people.topic("again").map(look, Told).sink("told", store="one")
    given = {"id": "a", "number": 1, "email": "x@y", "inner": None, "inners": [], "price": None}
    found = testing.run(pipeline, [given])
    [told] = found["told"]
    assert told == {"id": found["people"][0]["id"], "email": "***@y"}
    assert len(told["id"]) == 64
    assert all(len(one) == 64 for one in seen)


def test_masks_after_a_step_are_refused() -> None:
    stream = ps.Pipeline("masks").topic("raw", Person)
    with pytest.raises(DeclarationError, match="it is what a step gives"):
        stream.map(lambda rows: rows, Person)
    with pytest.raises(DeclarationError, match="it is what a step gives"):
        stream.explode("inners", Person)
    with pytest.raises(DeclarationError, match="different values become equal"):
        stream.topic("by_email", key="email")


def test_errors_of_a_map_quote_masked_rows_only() -> None:
    def fail(rows: pl.DataFrame) -> pl.DataFrame:
        if 7 in rows["number"]:
            raise ValueError(f"no {rows.to_dicts()}")
        return rows.select("id")

    class Id(ps.Contract):
        id: str = ps.key()

    stream = ps.Pipeline("masks").topic("raw", Person).map(fail, Id)
    good = {"id": MARKER, "number": 1, "email": MARKER, "inner": None, "inners": [], "price": None}
    found = testing.run(stream, [good, {**good, "number": 7}])
    [letter] = found.letters
    assert "no [{'id': '" in letter.cause.detail
    assert MARKER not in repr(found)


class Changes:
    framing = Framing(changes=True)
    every: float | None = None

    def describe(self) -> str:
        return "changes"

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        yield from ()

    def check(self) -> None:
        return


def test_deletes_in_a_landing_of_changes_are_masked_too() -> None:
    class Row(ps.Contract):
        id: Annotated[int, ps.masked("tokenise", key=KEY)] = ps.key()
        email: str = ps.masked("redact")

    pipeline = ps.Pipeline("masks")
    pipeline.source(Changes(), Row, land="l").topic("rows").sink("rows", store="one")
    put = b'{"op":"insert","key":{"id":%d},"after":{"id":%d,"email":"e"}}\n'
    lines = [put % (1, 1), put % (2, 2), b'{"op":"delete","key":{"id":1}}\n', b'{"op":"x"}\n']
    found = testing.run(pipeline, [b"".join(lines)])
    [row] = found["rows@one"]
    assert ps.detokenise(row["id"], "a key that is long enough") == "2"
    assert [letter.cause.value for letter in found.letters] == ["masked"]


def test_deletes_are_masked_as_their_rows_are() -> None:
    pipeline = ps.Pipeline("masks")
    pipeline.topic("raw", Person).sink("people", store="one")
    good = {"id": "a", "number": 1, "email": "x@y", "inner": None, "inners": [], "price": None}
    found = testing.run(pipeline, [good, {**good, "id": "b"}, testing.delete(id="a")])
    assert len(found["people"]) == 1
    assert found.count("people").deleted == 1
