from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest

import penstock.contract as ps

from .everything import Everything, Login


def contract(**fields: Any) -> ps.ContractSpec:
    """Declare a contract from the annotations of its fields."""
    return ps.spec(type("Made", (ps.Contract,), {"__annotations__": {"id": int, **fields}}))


def changes(old: ps.ContractSpec, new: ps.ContractSpec) -> ps.Changes:
    return ps.compare(json.loads(json.dumps(old.to_json())), new)


class Deep(ps.Contract):
    uuid: str
    more: int


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({}, {"a": int | None}, "a is added, nullable"),
        ({"a": int}, {"a": int | None}, "a becomes nullable"),
        ({"a": Literal["x"]}, {"a": Literal["x", "y"]}, "a also allows y"),
        ({"a": Annotated[int, ps.Range(ge=0)]}, {"a": int}, "a has fewer constraints"),
        (
            {"a": Annotated[int, ps.Range(ge=1, lt=5)]},
            {"a": Annotated[int, ps.Range(ge=0, lt=9)]},
            "a has wider constraints",
        ),
        (
            {"a": Annotated[str, ps.Length(1, 5)]},
            {"a": Annotated[str, ps.Length(0)]},
            "a has wider constraints",
        ),
        (
            {"a": Annotated[int, ps.OneOf(1)]},
            {"a": Annotated[int, ps.OneOf(1, 2)]},
            "a has wider constraints",
        ),
        ({"a": list[int]}, {"a": list[int | None]}, "a.* becomes nullable"),
    ],
)
def test_compatible(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    assert changes(contract(**old), contract(**new)) == ps.Changes([words], [])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": int}, {}, "a is removed"),
        ({}, {"a": int}, "a is added and not nullable"),
        ({"a": int | None}, {"a": int}, "a was nullable and is not"),
        ({"a": int}, {"a": str}, "a was int and is str"),
        ({"a": Literal["x", "y"]}, {"a": Literal["x"]}, "a no longer allows y"),
        ({"a": int}, {"a": Annotated[int, ps.Range(ge=0)]}, "a must now be >= 0"),
        (
            {"a": Annotated[int, ps.Range(ge=0)]},
            {"a": Annotated[int, ps.Range(ge=1)]},
            "a must now be >= 1",
        ),
        ({"a": int}, {"a": Annotated[int, ps.Name("b")]}, "a was 'a' in JSON and is 'b'"),
        (
            {"a": Annotated[Decimal, ps.Digits(9, 2)]},
            {"a": Annotated[Decimal, ps.Digits(8, 2)]},
            "a had 9 digits, 2 after the point, and has 8, 2",
        ),
        ({"a": list[int]}, {"a": list[str]}, "a.* was int and is str"),
        ({"a": Login}, {"a": Deep}, "a.more is added and not nullable"),
        ({"a": Login}, {"a": Deep}, "a.note is removed"),
    ],
)
def test_breaking(old: dict[str, Any], new: dict[str, Any], words: str) -> None:
    breaking = changes(contract(**old), contract(**new)).breaking
    assert any(sentence.startswith(words) for sentence in breaking), breaking


def test_more_digits_hold_all_that_was() -> None:
    old = contract(a=Annotated[Decimal, ps.Digits(9, 2)])
    new = contract(a=Annotated[Decimal, ps.Digits(11, 3)])
    assert changes(old, new).breaking == []
    assert changes(old, contract(a=Annotated[Decimal, ps.Digits(9, 3)])).breaking != []


def test_a_key_may_not_change() -> None:
    class Keyed(ps.Contract):
        id: int = ps.key()

    assert changes(contract(), ps.spec(Keyed)).breaking == ["id becomes key"]


def test_nothing_changes_from_a_contract_to_itself() -> None:
    spec = ps.spec(Everything)
    assert changes(spec, spec) == ps.Changes([], [])


def test_json_schema_says_what_json_may_be() -> None:
    schema = ps.spec(Everything).json_schema()
    assert schema["required"] == [
        f.json_name for f in ps.spec(Everything).fields if not f.nullable and not f.is_born
    ]
    assert schema["properties"]["id"] == {"type": "string", "format": "uuid"}
    assert schema["properties"]["postcode"] == {"type": ["string", "number"]}
    made = contract(a=Annotated[int, ps.Range(ge=0, lt=9)] | None).json_schema()
    inner = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "exclusiveMaximum": 9}
    assert made["properties"]["a"] == {"anyOf": [inner, {"type": "null"}]}


@pytest.mark.parametrize(
    ("written", "read", "words"),
    [
        ({"a": int, "b": str}, {"a": int}, []),
        ({"a": int}, {"a": float, "b": str | None}, []),
        ({"a": str}, {"a": Literal["x"]}, []),
        ({"a": ps.Text}, {"a": int}, []),
        ({"a": int | None}, {"a": int}, []),
        ({}, {"b": str}, ["b is not written"]),
        ({"a": int}, {"a": str}, ["a is written as int and read as str"]),
        ({"a": list[str]}, {"a": Deep}, ["a is written as list and read as nested"]),
        ({"a": Deep}, {"a": Deep}, []),
    ],
)
def test_what_no_record_can_be_read_as_is_told(
    written: dict[str, Any], read: dict[str, Any], words: list[str]
) -> None:
    before = json.loads(json.dumps(contract(**written).to_json()))
    assert ps.unreadable(before, contract(**read)) == words
