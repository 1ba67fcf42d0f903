"""Avro, written and read: what we write is Avro by the letter, what we read is nothing else."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.serdes.contracts import Everything

import penstock as ps
from penstock.contract import ContractSpec, spec, synthetic
from penstock.contract.documents import LARGEST, Problem
from penstock.serdes.avro import decode as decoding
from penstock.serdes.avro import exact
from penstock.serdes.avro.encode import encode
from penstock.serdes.avro.parse import parse
from penstock.serdes.avro.resolve import resolve
from penstock.serdes.avro.schema import avro_schema

SPEC = spec(Everything)
TEXT = avro_schema(SPEC, "every-thing")
MANY = 60
"""More than are read one by one."""


@pytest.fixture(autouse=True)
def by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FEW", MANY - 1)


def written(schema: Any, *records: Any) -> list[bytes]:
    """What fastavro writes."""
    parsed = fastavro.parse_schema(schema)
    values = []
    for record in records:
        value = io.BytesIO()
        fastavro.schemaless_writer(value, parsed, record)
        values.append(value.getvalue())
    return values


def read(contract: ContractSpec, schema: Any, values: Sequence[bytes]) -> Any:
    """Decode; gives each value's row, or its field and rule."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    rows, failures = decoding.decode(contract, parse(text), pl.Series(values, dtype=pl.Binary))
    found: dict[int, Any] = {f.row: (f.cause.field, f.cause.rule) for f in failures}
    for row in rows.iter_rows(named=True):
        assert row["_row"] not in found
        found[row.pop("_row")] = row
    return [found[number] for number in range(len(values))]


def both_ways(contract: ContractSpec, schema: Any, values: Sequence[bytes]) -> Any:
    """Decode one by one and by columns, which must be the same."""
    slow = [found for value in values for found in read(contract, schema, [value])]
    times = -(-MANY // len(values))
    assert read(contract, schema, [*values] * times) == slow * times
    return slow


@cache
def contract_of(hint: Any) -> ContractSpec:
    """A contract with one field `x`."""
    return spec(
        type("One", (ps.Contract,), {"__annotations__": {"x": hint}, "__module__": __name__})
    )


def one(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "one", "fields": [{"name": "x", "type": kind}]}


def long(number: int) -> bytes:
    """An int as Avro writes it."""
    rest = number * 2 if number >= 0 else -number * 2 - 1
    groups = []
    while rest >= 128:
        groups.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*groups, rest])


# --- writing -------------------------------------------------------------------------------------


def test_a_schema_says_what_the_contract_says() -> None:
    fields = {field["name"]: field for field in json.loads(TEXT)["fields"]}
    assert json.loads(TEXT)["name"] == "every_thing"
    assert fields["raw_bytes"]["jsonName"] == "raw-bytes"
    assert fields["note"] == {"name": "note", "type": ["null", "string"], "default": None}
    assert fields["name"]["doc"] == "length 0 to 40"
    assert fields["size"]["type"]["symbols"] == ["small", "large"]
    assert fields["colour"]["type"] == ["null", "string"]
    assert fields["seen"]["default"] is None
    fastavro.parse_schema(json.loads(TEXT))


def test_names_that_avro_lacks_stay_apart() -> None:
    class Odd(ps.Contract):
        a: Annotated[int, ps.Name("a-b")]
        b: Annotated[int, ps.Name("a b")]
        c: Annotated[int, ps.Name("a_b")]
        d: Annotated[int, ps.Name("1st")]

    text = avro_schema(spec(Odd), "odd")
    names = [field["name"] for field in json.loads(text)["fields"]]
    assert names == ["a_b_", "a_b__", "a_b", "_1st"]
    frame = pl.DataFrame({"a": [1], "b": [2], "c": [3], "d": [4]})
    assert read(spec(Odd), text, encode(spec(Odd).fields, frame).to_list()) == frame.to_dicts()


@pytest.mark.parametrize("rows", [0, 1, 7, 500])
def test_what_is_written_is_avro_and_reads_back(rows: int) -> None:
    frame = synthetic(SPEC, rows, seed=rows)
    values = encode(SPEC.fields, frame, b"head")
    assert [value[:4] for value in values] == [b"head"] * rows
    payloads = [value[4:] for value in values]
    parsed = fastavro.parse_schema(json.loads(TEXT))
    theirs = [fastavro.schemaless_reader(io.BytesIO(value), parsed, None) for value in payloads]
    assert written(json.loads(TEXT), *theirs) == payloads
    assert read(SPEC, TEXT, payloads) == frame.to_dicts()


INTS = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(st.lists(st.none() | INTS, min_size=1), st.lists(st.lists(INTS, max_size=5), min_size=1))
def test_ints_are_written_to_the_letter(numbers: list[int | None], lists: list[list[int]]) -> None:
    for hint, kind, values in (
        (int | None, ["null", "long"], numbers),
        (list[int], {"type": "array", "items": "long"}, lists),
    ):
        contract = contract_of(hint)
        frame = pl.DataFrame({"x": values}, schema=contract.polars)
        assert encode(contract.fields, frame).to_list() == written(
            one(kind), *({"x": value} for value in values)
        )


@settings(deadline=None)
@given(st.lists(st.decimals(-(10**29) + 1, 10**29 - 1, places=9), min_size=1))
def test_decimals_are_written_in_as_few_bytes_as_hold_them(numbers: list[Decimal]) -> None:
    contract = contract_of(Annotated[Decimal, ps.Digits(38, 9)])
    frame = pl.DataFrame({"x": numbers}, schema=contract.polars)
    for value, number in zip(encode(contract.fields, frame), numbers, strict=True):
        unscaled = int(number.scaleb(9, Context(prec=60)))
        size = max(1, (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1)
        assert value == long(size) + unscaled.to_bytes(size, "big", signed=True)


# --- strictness ----------------------------------------------------------------------------------


def test_what_is_no_record_says_why() -> None:
    contract = contract_of(str)
    good = written(one("string"), {"x": "ada"})[0]
    values = [good, b"", good[:-1], good + b"\0", b"\x06a\xff\0", b"\x04a\0", long(-1) + b"a"]
    values += [long(2**60) + b"a", b"\xff" * 10 + b"\x01a", b"\x06\xed\xa0\x80"]
    assert both_ways(contract, one("string"), values) == [
        {"x": "ada"},
        ("x", "ends in the middle of a record"),
        ("x", "ends in the middle of a record"),
        ("", "something follows the document"),
        ("x", "not valid UTF-8"),
        ("x", "NUL in a str"),
        ("x", "a length below 0"),
        ("x", "ends in the middle of a record"),
        ("x", "an int beyond 64 bits"),
        ("x", "not valid UTF-8"),
    ]


def test_numbers_keep_to_their_domains() -> None:
    cases: list[tuple[Any, Any, list[tuple[bytes, Any]]]] = [
        (int, "long", [(long(2**63 - 1), 2**63 - 1), (b"\xff" * 9 + b"\x02", "beyond 64")]),
        (int, "int", [(long(-(2**31)), -(2**31)), (long(2**31), "an int beyond 32 bits")]),
        (float, "double", [(struct.pack("<d", 1.5), 1.5), (struct.pack("<d", 9e999), "finite")]),
        (float, "float", [(struct.pack("<f", 1.5), 1.5), (b"\0\0\xc0\x7f", "a float is finite")]),
        (float, "long", [(long(2**53), 2.0**53), (long(2**53 + 1), "an int that no float")]),
        (bool, "boolean", [(b"\1", True), (b"\0", False), (b"\2", "a bool is 0 or 1")]),
        (
            date,
            {"type": "int", "logicalType": "date"},
            [
                (long(-719162), date.min),
                (long(2932896), date.max),
                (long(-719163), "a date of the years 1 to 9999"),
                (long(2932897), "a date of the years 1 to 9999"),
            ],
        ),
    ]
    for hint, kind, values in cases:
        found = both_ways(contract_of(hint), one(kind), [value for value, _ in values])
        for got, (_, wanted) in zip(found, values, strict=True):
            if isinstance(wanted, str):
                assert got[0] == "x"
                assert wanted in got[1]
            else:
                assert got == {"x": wanted}


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("kind", "per"), [("millis", 1_000), ("micros", 10**6), ("nanos", 10**9)])
def test_datetimes_of_every_precision(kind: str, per: int) -> None:
    schema = one({"type": "long", "logicalType": f"timestamp-{kind}"})
    last = (LAST - _EPOCH) // timedelta(microseconds=1) * per // 10**6
    counts = [-1, 0, 1_700_000_000 * per, min(last, 2**63 - 808)]
    good = [value for value in counts if value * 10**6 % per == 0]
    found = both_ways(contract_of(datetime), schema, list(map(long, good)))
    assert found == [{"x": _EPOCH + timedelta(microseconds=n * 10**6 // per)} for n in good]
    if per < 10**9:
        [late] = both_ways(contract_of(datetime), schema, [long(last + 1)])
        assert late == ("x", "a datetime of the years 1 to 9999")
    else:
        [finer] = both_ways(contract_of(datetime), schema, [long(1)])
        assert finer == ("x", "a datetime finer than microseconds")


def test_decimals_fit_the_contracts_digits() -> None:
    contract = contract_of(Annotated[Decimal, ps.Digits(5, 2)])
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 3}

    def value(number: int) -> bytes:
        size = number.bit_length() // 8 + 1
        return long(size) + number.to_bytes(size, "big", signed=True)

    found = both_ways(contract, one(kind), [value(-999_990), value(1), value(10**30), b"\0"])
    words = "expected a number of at most 5 digits, 2 after the point, got "
    assert found[0] == {"x": Decimal("-999.99")}
    assert [got[1].startswith(words) for got in found[1:]] == [True] * 3
    [got] = both_ways(contract, one({**kind, "scale": 1}), [value(123)])
    assert got == {"x": Decimal("12.30")}


def test_lists_cannot_claim_what_is_not_there() -> None:
    contract = contract_of(list[int])
    schema = one({"type": "array", "items": "long"})
    sized = long(-2) + long(2) + long(1) + long(2) + b"\0"
    values = [sized, long(2) + long(1) + long(2) + long(1) + long(3) + b"\0", b"\0"]
    values += [long(2**62), long(3) + long(1), long(-(2**63)) + b"\0", long(2) + long(1) + b"\0"]
    assert both_ways(contract, schema, values) == [
        {"x": [1, 2]},
        {"x": [1, 2, 3]},
        {"x": []},
        ("x", "a list of more elements than there are bytes"),
        ("x.1", "ends in the middle of a record"),
        ("x", "a list of more elements than there are bytes"),
        ("x", "ends in the middle of a record"),
    ]
    long_list = {"x": list(range(5000))}
    assert read(contract, schema, written(schema, *[long_list, {"x": [1]}] * MANY))[0] == long_list


def test_what_takes_no_bytes_cannot_be_a_bomb() -> None:
    schema = one("string")
    schema["fields"].append({"name": "n", "type": {"type": "array", "items": "null"}})
    value = b"\x02a" + long(2**40) + b"\0"
    [found] = both_ways(contract_of(str), schema, [value])
    assert found == ("", "a list of more elements than there are bytes")
    assert read(contract_of(str), one("string"), [long(LARGEST) + bytes(LARGEST)]) == [
        ("", "larger than 16 MiB")
    ]


def test_a_record_that_holds_itself_is_passed_over_to_a_depth() -> None:
    node = {
        "type": "record",
        "name": "node",
        "fields": [{"name": "next", "type": ["null", "node"]}],
    }
    schema = one("string")
    schema["fields"].append({"name": "chain", "type": node})
    values = [b"\x02a" + b"\x02" * depth + b"\0" for depth in (1, 30, 1000)]
    assert both_ways(contract_of(str), schema, values) == [
        {"x": "a"},
        {"x": "a"},
        ("", "nested deeper than 100 levels"),
    ]


def test_enums_and_unions_have_only_what_they_have() -> None:
    contract = contract_of(Literal["a", "b"] | None)
    kind = ["null", {"type": "enum", "name": "e", "symbols": ["a", "b", "c"]}, "int"]
    values = [b"\0", b"\2\0", b"\2\4", b"\2\6", b"\2\1", b"\4\0", b"\6\0", b"\1"]
    assert both_ways(contract, one(kind), values) == [
        {"x": None},
        {"x": "a"},
        ("x", "expected one of a, b, got a str"),
        ("x", "no such symbol of an enum"),
        ("x", "no such symbol of an enum"),
        ("x", "expected one of a, b, got an int"),
        ("x", "no such branch of a union"),
        ("x", "no such branch of a union"),
    ]
    [got] = both_ways(contract_of(str), one(["null", "string"]), [b"\0"])
    assert got == ("x", "null in a field that is not nullable")


# --- schemas of others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "kind", "given", "wanted"),
    [
        (int, "int", 7, 7),
        (float, "int", 7, 7.0),
        (float, "float", 0.5, 0.5),
        (str, "bytes", b"ada", "ada"),
        (bytes, "string", "ada", b"ada"),
        (bytes, {"type": "fixed", "name": "f", "size": 2}, b"\0\1", b"\0\1"),
        (ps.Text, "long", -7, "-7"),
        (str, {"type": "enum", "name": "e", "symbols": ["a"]}, "a", "a"),
        (Literal["a"], "string", "a", "a"),
        (UUID, "string", "1B4E28BA-2FA1-11D2-883F-0016D3CCA427", None),
        (
            UUID,
            {"type": "fixed", "name": "f", "size": 16, "logicalType": "uuid"},
            UUID("1b4e28ba-2fa1-11d2-883f-0016d3cca427").bytes,
            "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
        ),
        (int | None, "int", 7, 7),
        (list[int | None], {"type": "array", "items": ["int", "null"]}, [1, None], [1, None]),
    ],
)
def test_a_writers_types_are_promoted_without_loss(
    hint: Any, kind: Any, given: Any, wanted: Any
) -> None:
    values = written(one(kind), {"x": given})
    wanted = given.lower() if wanted is None else wanted
    assert both_ways(contract_of(hint), one(kind), values) == [{"x": wanted}]


@pytest.mark.parametrize(
    ("hint", "kind", "rule"),
    [
        (int, "string", "expected an int, got a str"),
        (str, "long", "expected a str, got an int"),
        (int, "double", "expected an int, got a float"),
        (bool, "int", "expected a bool, got an int"),
        (date, "int", "expected a date such as 2026-11-20, got an int"),
        (str, {"type": "array", "items": "string"}, "expected a str, got a list"),
        (list[str], {"type": "map", "values": "string"}, "expected a list, got an object"),
        (str, "null", "null in a field that is not nullable"),
        (
            datetime,
            {"type": "long", "logicalType": "local-timestamp-micros"},
            "a datetime without a zone",
        ),
    ],
)
def test_what_a_schema_alone_shows_to_be_wrong(hint: Any, kind: Any, rule: str) -> None:
    assert both_ways(contract_of(hint), one(kind), [b"\0", b"\2a"]) == [("x", rule)] * 2


def test_fields_are_found_by_name_alias_and_json_name_and_others_passed_over() -> None:
    class Wanted(ps.Contract):
        a: Annotated[int, ps.Name("the a")]
        b: str
        c: int | None
        d: datetime = ps.born()

    fields = [
        {"name": "m", "type": {"type": "map", "values": ["null", "bytes", "double"]}},
        {"name": "old", "type": "string", "aliases": ["x", "b"]},
        {"name": "f", "type": {"type": "fixed", "name": "f", "size": 3}},
        {"name": "n", "type": {"type": "array", "items": {"type": "array", "items": "f"}}},
        {"name": "alpha", "type": "long", "jsonName": "the a"},
    ]
    schema = {"type": "record", "name": "w", "fields": fields}
    record = {"m": {"k": 1.5, "l": None, "p": b"q"}, "old": "z", "f": b"123", "alpha": 5}
    values = written(schema, {**record, "n": [[b"abc"], []]}, {**record, "m": {}, "n": []})
    wanted = {"a": 5, "b": "z", "c": None, "d": None}
    assert both_ways(spec(Wanted), schema, values) == [wanted, wanted]
    fields.pop()
    assert both_ways(spec(Wanted), schema, values)[0] == ("the a", "the field is missing")


def test_a_union_at_the_top_gives_the_records_it_can() -> None:
    schema = [one("long"), {"type": "record", "name": "other", "fields": []}, "null"]
    found = both_ways(contract_of(int), schema, [b"\0\x0e", b"\2", b"\4"])
    assert found == [
        {"x": 7},
        ("x", "the field is missing"),
        ("", "null in a field that is not nullable"),
    ]


# --- one bad value never touches another ---------------------------------------------------------


@st.composite
def mangled(draw: st.DrawFn) -> list[bytes]:
    """Records, some of them changed, cut, lengthened or made of anything."""
    values = encode(SPEC.fields, synthetic(SPEC, MANY, draw(st.integers(0, 20)))).to_list()
    for at in draw(st.sets(st.integers(0, MANY - 1), max_size=MANY)):
        value = bytearray(values[at])
        for place in draw(st.lists(st.integers(0, len(value) - 1), max_size=3)):
            value[place] = draw(st.sampled_from([0, 1, 2, 4, 127, 128, 255]) | st.integers(0, 255))
        end = draw(st.integers(0, len(value)) | st.just(len(value)))
        values[at] = bytes(value[:end]) + draw(st.just(b"") | st.binary(max_size=12))
    return values


@settings(max_examples=60, deadline=None)
@given(mangled())
def test_columns_give_what_each_value_gives_alone(values: list[bytes]) -> None:
    node = resolve(parse(TEXT), SPEC)
    parsed = fastavro.parse_schema(json.loads(TEXT))
    for value, found in zip(values, read(SPEC, TEXT, values), strict=True):
        try:
            alone: Any = exact.decode(node, value)
        except Problem as problem:
            alone = (problem.cause().field, problem.cause().rule)
        assert found == alone
        if isinstance(found, dict):
            source = io.BytesIO(value)
            theirs = fastavro.schemaless_reader(source, parsed, None)
            assert source.read() == b""
            assert theirs["name"] == found["name"]  # type: ignore[index, call-overload]
            assert theirs["grid"] == found["grid"]  # type: ignore[index, call-overload]
            assert theirs["at"] == found["at"]  # type: ignore[index, call-overload]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_schema_or_none(text: bytes) -> None:
    try:
        parse(text.decode("utf-8", "replace"))
    except ValueError as error:
        assert "no Avro schema" in str(error)
