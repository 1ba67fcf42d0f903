from __future__ import annotations

import tracemalloc
from typing import Annotated

import polars as pl
import pytest

import penstock.contract as ps
from penstock.records import Cause

from .everything import GOOD, Everything, document

pytestmark = pytest.mark.usefixtures("each_way")

SPEC = ps.spec(Everything)


def cause_of(value: bytes) -> Cause:
    """Decode a bad value between two good ones."""
    values = pl.Series([document(age="1"), value, document(age="2")], dtype=pl.Binary)
    decoded = ps.decode(SPEC, values)
    assert decoded.rows["age"].to_list() == [1, 2]
    assert [(f.row, f.index) for f in decoded.failures] == [(1, 0)]
    assert decoded.failures[0].cause.stage == "decode"
    return decoded.failures[0].cause


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"nonsense", "not JSON"),
        (document()[:-5], "not JSON"),
        (document() + document(), "something follows the document"),
        (document() + b"\n" + document(), "something follows the document"),
        (b"\xef\xbb\xbf" + document(), "begins with a byte order mark"),
        (document().decode().encode("utf-16"), "not valid UTF-8"),
        (document().replace(b"Ana", b"\xc3("), "not valid UTF-8"),
        (document(extra='"~"').replace(b"~", b"\xc3("), "not valid UTF-8"),
        (b"[" + document() + b"]", "expected an object, got a list"),
        (b"[" * 100_000, "expected an object, got a list"),
        (document(extra="[" * 100_000 + "]" * 100_000), "nested deeper than 100 levels"),
        (document(extra='{"a":' * 100_000 + "1" + "}" * 100_000), "nested deeper than 100 levels"),
        (document(extra="NaN"), "NaN is not JSON"),
        (b"1", "expected an object, got an int"),
        (b"null", "expected an object, got null"),
    ],
)
def test_what_is_no_document(value: bytes, rule: str) -> None:
    assert cause_of(value).rule == rule


@pytest.mark.parametrize(
    ("field", "literal", "rule", "shown"),
    [
        ("age", "9223372036854775808", "an int beyond 64 bits", "9223372036854775808"),
        ("age", "1.5", "expected an int, got a number with a fraction", "1.5"),
        ("age", '"7"', "expected an int, got a str", '"7"'),
        ("age", "true", "expected an int, got a bool", "true"),
        ("ratio", "1e400", "a float beyond 64 bits", "1e400"),
        ("ratio", "9007199254740993", "an int that no float equals", "9007199254740993"),
        ("name", None, "the field is missing", ""),
        ("name", "null", "null in a field that is not nullable", '"null"'),
        ("name", "[]", "expected a str, got a list", "[]"),
        ("name", r'"a\u0000"', "NUL in a str", r'"a\u0000"'),
        ("name", r'"\ud800"', "a lone surrogate in a str", r'"\ud800"'),
        ("at", '"2026-11-20T18:30:00"', "a datetime without a zone", '"2026-11-20T18:30:00"'),
        ("at", '"0000-01-01T00:00:00Z"', "no such datetime", '"0000-01-01T00:00:00Z"'),
        ("day", '"2026-02-30"', "no such date", '"2026-02-30"'),
    ],
)
def test_what_is_no_value(field: str, literal: str | None, rule: str, shown: str) -> None:
    cause = cause_of(document(**{field: literal}))
    assert (cause.field, cause.rule, cause.value) == (field, rule, shown)


@pytest.mark.parametrize("number", [2**63, 2**127, 2**128, -(10**400)])
def test_an_int_of_any_size_harms_no_neighbour(number: int) -> None:
    values = pl.Series([document(), document(age=str(number)), document()] * 20, dtype=pl.Binary)
    decoded = ps.decode(SPEC, values)
    assert decoded.rows["_row"].to_list() == [row for row in range(60) if row % 3 != 1]
    assert {failure.cause.rule for failure in decoded.failures} == {"an int beyond 64 bits"}


def test_fields_inside_are_named_by_their_path() -> None:
    uuid = GOOD["id"]
    assert cause_of(document(login='{"uuid":1}')).field == "login.uuid"
    logins = f'[{{"uuid":{uuid}}},{{"uuid":{uuid},"note":"a","note":"b"}}]'
    cause = cause_of(document(logins=logins))
    assert (cause.field, cause.rule) == ("logins.1.note", "duplicate key")


def test_values_are_shown_shortened() -> None:
    assert len(cause_of(document(age='"' + "x" * 10_000 + '"')).value) <= 200


def test_a_huge_document_is_one_failure() -> None:
    cause = cause_of(document(extra='"' + "x" * (17 << 20) + '"'))
    assert cause.rule == "larger than 16 MiB"


def test_a_document_may_be_large() -> None:
    values = pl.Series([document(name='"' + "x" * (8 << 20) + '"')], dtype=pl.Binary)
    assert ps.decode(SPEC, values).rows["name"].str.len_bytes().to_list() == [8 << 20]


class Person(ps.Contract):
    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
    age: Annotated[int, ps.Range(ge=0, lt=150)] | None
    tags: list[Annotated[str, ps.Length(1, 3)]] | None


def test_constraints_are_checked_and_each_record_fails_once() -> None:
    values = [
        b'{"email":"a@b"}',
        b'{"email":"a@b\\n","age":150}',
        b'{"email":"a@b","age":-1}',
        b'{"email":"a@b","tags":["abc","abcd"]}',
        b'{"email":"a@b","age":149,"tags":[]}',
    ]
    decoded = ps.decode(ps.spec(Person), pl.Series(values, dtype=pl.Binary))
    assert decoded.rows["_row"].to_list() == [0, 4]
    found = [(f.row, f.cause.stage, f.cause.field, f.cause.value) for f in decoded.failures]
    assert found == [
        (1, "contract", "email", r'"a@b\n"'),
        (2, "contract", "age", "-1"),
        (3, "contract", "tags.*", "['abc', 'abcd']"),
    ]


class Awkward(ps.Contract):
    a: Annotated[int | None, ps.Name(":")]
    b: Annotated[int | None, ps.Name("a b'")]
    c: Annotated[int | None, ps.Name("")]
    d: Annotated[int | None, ps.Name("é")]


def test_names_of_fields_may_be_awkward() -> None:
    values = [
        rb"""{":":1,"a b'":2,"":3,"\u00e9":4}""",
        b'{":":1,":":1}',
        rb'{"\u003a":1,":":1}',
        b'{"":1, "" :2}',
        '{"é":1,"\\u00E9":2}'.encode(),
    ]
    decoded = ps.decode(ps.spec(Awkward), pl.Series(values, dtype=pl.Binary))
    assert decoded.rows.select("a", "b", "c", "d").rows() == [(1, 2, 3, 4)]
    assert {f.cause.rule for f in decoded.failures} == {"duplicate key"}


def test_no_values_give_no_rows() -> None:
    decoded = ps.decode(SPEC, pl.Series([], dtype=pl.Binary))
    assert decoded.rows.drop("_row", "_index").schema == SPEC.polars
    assert len(decoded.rows) == 0


def test_a_batch_costs_little_memory() -> None:
    frame = ps.synthetic(SPEC, 20_000, seed=1)
    values = ps.encode(SPEC, frame)
    ps.decode(SPEC, values.head(10))
    tracemalloc.start()
    try:
        ps.decode(SPEC, values)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
