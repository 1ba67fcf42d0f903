from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps
from penstock.contract import ContractSpec, compare, decode, masking, spec, synthetic, validate
from penstock.contract.jsonschema import MASKED
from penstock.errors import ProfileError, Refused
from penstock.records import Cause
from penstock.serdes.avro.schema import avro_schema

SECRET = "correct horse battery staple"
KEY = ps.env("TESTS_MASK_KEY")
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_MASK_KEY", SECRET)


class Inner(ps.Contract):
    street: str = ps.masked("redact")
    city: str
    tags: list[str | None] = ps.masked("hash", key=KEY)


class Whole(ps.Contract):
    id: Annotated[UUID, ps.masked("hash", key=KEY)] = ps.key()
    number: int = ps.masked("tokenise", key=KEY)
    price: Annotated[Decimal, ps.Digits(9, 2)] = ps.masked("hash", key=KEY)
    day: date | None = ps.masked("hash", key=KEY)
    seen: datetime = ps.masked("tokenise", key=KEY)
    raw: bytes = ps.masked("redact")
    gender: Literal["f", "m"] = ps.masked("redact")
    score: float = ps.masked("redact")
    inner: Inner | None
    inners: list[Inner]
    deep: list[list[str]] = ps.masked("hash", key=KEY)
    gone: list[Inner] = ps.masked("redact")
    card: Annotated[str, ps.Length(2, 19)] = ps.masked("partial", last=4)
    email: Annotated[str, ps.Pattern("[^@]+@[^@]+")] = ps.masked("partial", first=1, after="@")
    plain: str


def hashed(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def frame(shape: ContractSpec, **values: Any) -> pl.DataFrame:
    return pl.DataFrame({name: [value] for name, value in values.items()}, schema=shape.polars)


def one(shape: ContractSpec, **values: Any) -> dict[str, Any]:
    return masking.mask(shape, frame(shape, **values)).row(0, named=True)


@pytest.mark.parametrize("rows", [0, 1, 7, 400])
def test_masked_rows_fit_the_masked_contract(rows: int) -> None:
    shape = spec(Whole)
    masked = masking.mask(shape, synthetic(shape, rows))
    assert masked.schema == shape.masked.polars
    assert validate(shape.masked, masked) == []
    assert masked["plain"].to_list() == synthetic(shape, rows)["plain"].to_list()
    assert shape.masks
    assert not shape.masked.masks
    assert shape.masked.masked is shape.masked
    assert masking.mask(shape.masked, masked) is masked


def test_a_hash_is_the_hmac_of_the_text_in_json() -> None:
    class Hashed(ps.Contract):
        id: UUID = ps.masked("hash", key=KEY)
        n: int = ps.masked("hash", key=KEY)
        d: Annotated[Decimal, ps.Digits(6, 2)] = ps.masked("hash", key=KEY)
        day: date = ps.masked("hash", key=KEY)
        at: datetime = ps.masked("hash", key=KEY)
        b: bytes = ps.masked("hash", key=KEY)
        nothing: str | None = ps.masked("hash", key=KEY)

    number = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    found = one(
        spec(Hashed),
        id=number,
        n=-5,
        d=Decimal("1.50"),
        day=date(2026, 1, 2),
        at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        b=b"\xff\0",
        nothing=None,
    )
    texts = (number, "-5", "1.50", "2026-01-02", "2026-01-02T03:04:05.000006Z", "/wA=")
    assert list(found.values()) == [*map(hashed, texts), None]


@given(TEXTS, TEXTS)
def test_masks_are_deterministic_and_keep_values_apart(first: str, second: str) -> None:
    class Joined(ps.Contract):
        a: str = ps.masked("hash", key=KEY)
        b: str = ps.masked("tokenise", key=KEY)

    shape = spec(Joined)
    left, right = one(shape, a=first, b=first), one(shape, a=second, b=second)
    assert left == one(shape, a=first, b=first)
    for name in ("a", "b"):
        assert (left[name] == right[name]) == (first == second)
    assert left["a"] == hashed(first)
    assert ps.detokenise(left["b"], SECRET) == first
    assert ps.detokenise(left["b"], "another key that is new", SECRET) == first
    with pytest.raises(Refused, match="no token of the key"):
        ps.detokenise(left["b"], "another key that is new")


@given(st.text(st.characters(min_codepoint=0x400, max_codepoint=0x4FF), min_size=6, max_size=20))
def test_no_masked_value_holds_the_raw_one(marker: str) -> None:
    class Hidden(ps.Contract):
        a: str = ps.masked("hash", key=KEY)
        b: str = ps.masked("tokenise", key=KEY)
        c: str = ps.masked("redact")
        d: str = ps.masked("partial", last=4)
        e: list[str] = ps.masked("hash", key=KEY)
        f: list[str] = ps.masked("redact")

    found = one(
        spec(Hidden), a=marker, b=marker, c=marker, d=marker, e=[marker, marker], f=[marker]
    )
    assert marker not in json.dumps(found, ensure_ascii=False)


@given(TEXTS, st.integers(0, 5), st.integers(0, 5), st.sampled_from(["", "@", ", "]))
def test_partial_shows_at_most_half_of_what_it_hides(
    text: str, first: int, last: int, after: str
) -> None:
    if not (first or last or after):
        return
    made = type(
        "Made",
        (ps.Contract,),
        {
            "__annotations__": {"v": str},
            "v": ps.masked("partial", first=first, last=last, after=after),
        },
    )
    shown = one(spec(made), v=text)["v"]
    head, sign, tail = text.rpartition(after) if after in text and after else (text, "", "")
    assert shown.endswith(sign + tail)
    kept = shown.removesuffix(sign + tail) if sign + tail else shown
    if len(head) >= 2 * (first + last):
        assert kept == head[:first] + "***" + (head[-last:] if last else "")
    else:
        assert kept == "***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ada@x.org", "a***@x.org"),
        ("a@x.org", "***@x.org"),
        ("no address", "n***"),
        ("a@b@x.org", "a***@x.org"),
        ("@", "***@"),
        ("", "***"),
    ],
)
def test_an_address_keeps_its_domain(text: str, shown: str) -> None:
    class Mail(ps.Contract):
        v: str = ps.masked("partial", first=1, after="@")

    assert one(spec(Mail), v=text)["v"] == shown


def test_constraints_hold_for_what_came() -> None:
    class Checked(ps.Contract):
        email: Annotated[str, ps.Pattern("[^@]+@[^@]+"), ps.masked("hash", key=KEY)]

    found = decode(spec(Checked), pl.Series([b'{"email":"a@b"}', b'{"email":"a"}']))
    assert found.rows["email"].to_list() == ["a@b"]
    assert [str(c) for c in spec(Checked).masked.fields[0].constraints] == [
        "Pattern(regex='[0-9a-f]{64}')"
    ]


@pytest.mark.parametrize("value", [None, "too short"])
def test_a_key_that_is_missing_or_weak_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("TESTS_MASK_KEY")
    else:
        monkeypatch.setenv("TESTS_MASK_KEY", value)
    shape = spec(Whole)
    for use in (lambda: masking.keys(shape), lambda: masking.mask(shape, synthetic(shape, 1))):
        with pytest.raises(ProfileError, match="TESTS_MASK_KEY") as caught:
            use()
        assert "too short" not in str(caught.value)


def test_a_check_value_tells_keys_apart_and_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = spec(Whole)
    here = masking.keys(shape)
    assert list(here) == ["TESTS_MASK_KEY"]
    masking.verify(shape, here)
    monkeypatch.setenv("TESTS_MASK_KEY", SECRET + "!")
    with pytest.raises(Refused, match="another one") as caught:
        masking.verify(shape, here)
    for text in (str(caught.value), *here.values(), json.dumps(shape.to_json())):
        assert SECRET not in text
        assert hashlib.sha256(SECRET.encode()).hexdigest()[:16] not in text


def test_the_fingerprint_holds_the_way_and_not_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(mask: Any) -> ContractSpec:
        return spec(type("Made", (ps.Contract,), {"__annotations__": {"v": str}, "v": mask}))

    ways = [
        ps.masked("hash", key=KEY),
        ps.masked("hash", key=ps.env("OTHER")),
        ps.masked("tokenise", key=KEY),
        ps.masked("redact"),
        ps.masked("partial", last=1),
        ps.masked("partial", last=2),
    ]
    marks = {made(way).fingerprint for way in ways}
    assert len(marks) == len(ways)
    monkeypatch.setenv("TESTS_MASK_KEY", SECRET + "!")
    assert made(ways[0]).fingerprint in marks


def test_documents_say_what_is_masked() -> None:
    written = spec(Whole).masked.json_schema()
    assert written["properties"]["id"][MASKED] == "hash"
    assert written["properties"]["inners"]["items"]["properties"]["street"][MASKED] == "redact"
    assert MASKED not in written["properties"]["plain"]
    assert MASKED not in json.dumps(spec(Whole).json_schema())
    avro = json.loads(avro_schema(spec(Whole).masked, "topic"))
    assert {f["name"]: f.get(MASKED) for f in avro["fields"]}["email"] == "partial"


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        (Cause("decode", "r", "id", "S", "S"), ("masked", "")),
        (Cause("decode", "r", "", "S", "S"), ("masked", "")),
        (Cause("decode", "r", "results", "S"), ("masked", "")),
        (Cause("decode", "r", "inners.0.street", "S"), ("masked", "")),
        (Cause("decode", "r", "inners.0.tags.3", "S"), ("masked", "")),
        (Cause("decode", "r", "inners.0.city", "C"), ("C", "")),
        (Cause("decode", "r", "inner.city", "C"), ("C", "")),
        (Cause("contract", "r", "inners.*.city", "[{S}]"), ("masked", "")),
        (Cause("contract", "r", "plain", "P", "why"), ("P", "why")),
        (Cause("decode", "the field is missing", "id"), ("", "")),
    ],
)
def test_causes_show_only_what_is_not_masked(cause: Cause, shown: tuple[str, str]) -> None:
    found = masking.cause(spec(Whole), cause)
    assert (found.value, found.detail) == shown
    assert masking.cause(spec(Whole).masked, cause) == cause


def test_a_name_with_a_dot_makes_paths_unsure() -> None:
    class Dotted(ps.Contract):
        a: str
        secret: Annotated[str, ps.Name("a.b")] = ps.masked("redact")

    assert masking.cause(spec(Dotted), Cause("decode", "r", "a.b", "S")).value == "masked"
    assert masking.cause(spec(Dotted), Cause("decode", "r", "a", "A")).value == "masked"


def test_another_way_of_masking_breaks_what_is_stored() -> None:
    def made(mask: Any) -> ContractSpec:
        fields = {"__annotations__": {"v": str}} | ({"v": mask} if mask else {})
        return spec(type("Made", (ps.Contract,), fields)).masked

    plain, email = made(None), ps.masked("partial", last=2)
    assert "was not masked and is masked by partial" in str(
        compare(plain.to_json(), made(email)).breaking
    )
    assert "is not masked" in str(compare(made(email).to_json(), plain).breaking)
    assert compare(made(email).to_json(), made(email)).breaking == []
    renamed = compare(
        made(ps.masked("hash", key=KEY)).to_json(), made(ps.masked("hash", key=ps.env("NEW_KEY")))
    )
    assert renamed.breaking == []
    assert "do not join" in str(renamed.compatible)
