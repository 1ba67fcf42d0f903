from __future__ import annotations

import linecache
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest

import penstock.contract as ps
from penstock.errors import DeclarationError

from . import declarations
from .everything import Everything, Login


@pytest.mark.parametrize("contract", declarations.WRONG, ids=lambda c: c.__name__)
def test_a_wrong_declaration_names_its_line_and_the_remedy(contract: type[ps.Contract]) -> None:
    with pytest.raises(DeclarationError) as caught:
        ps.spec(contract)
    assert caught.value.file == declarations.__file__
    line = linecache.getline(declarations.__file__, caught.value.line or 0)
    assert line.split("WRONG: ")[1].strip() in str(caught.value)
    assert str(caught.value).startswith(f"{declarations.__file__}:{caught.value.line}: ")


def test_a_contract_is_a_class_of_its_own() -> None:
    with pytest.raises(DeclarationError, match="is not a contract"):
        ps.spec(int)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not instantiated"):
        Login()


def test_a_spec_tells_columns_key_and_place() -> None:
    spec = ps.spec(Everything)
    assert (spec.name, spec.key, spec.born) == ("Everything", ("id",), "date_added")
    assert spec is ps.spec(Everything)
    assert spec.file.endswith("everything.py")
    assert linecache.getline(spec.file, spec.line).startswith("class Everything")
    assert spec.polars["price"] == pl.Decimal(12, 2)
    assert spec.polars["logins"] == pl.List(pl.Struct(ps.spec(Login).polars))
    assert spec.arrow.field("at").type == pa.timestamp("us", "UTC")
    assert not spec.arrow.field("id").nullable


def test_fields_are_inherited() -> None:
    class More(Login):
        extra: int

    assert [f.name for f in ps.spec(More).fields] == ["uuid", "note", "when", "extra"]


def test_a_fingerprint_follows_the_declaration() -> None:
    def make(rule: object) -> str:
        made = type("Made", (ps.Contract,), {"__annotations__": {"n": rule}})
        return ps.spec(made).fingerprint

    assert make(int) == make(int)
    assert make(int) != make(int | None)


class Shop(ps.Contract):
    size: int
    opened: datetime


def test_fit_widens_reorders_and_fills_the_born_field() -> None:
    class Small(ps.Contract):
        name: str
        size: int
        at: datetime
        seen: datetime = ps.born()

    opened = datetime(2026, 1, 1, tzinfo=UTC)
    at = pl.Series([opened], dtype=pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Tokyo")
    names = pl.Series(["a"], dtype=pl.Categorical)
    frame = pl.DataFrame({"at": at, "size": pl.Series([1], dtype=pl.Int8), "name": names})
    fitted = ps.fit(ps.spec(Small), frame)
    assert fitted.schema == ps.spec(Small).polars
    assert fitted.row(0) == ("a", 1, opened, None)


@pytest.mark.parametrize(
    ("columns", "field", "rule"),
    [
        ({"size": [1]}, "opened", "the column is missing"),
        ({"size": [1], "opened": [None], "x": [1]}, "x", "no such field"),
        ({"size": [1.0], "opened": [None]}, "size", "expected a column of Int64, got Float64"),
        ({"size": ["1"], "opened": [None]}, "size", "expected a column of Int64, got String"),
        ({"size": [True], "opened": [None]}, "size", "expected a column of Int64, got Boolean"),
        ({"size": [1], "opened": [datetime(2026, 1, 1)]}, "opened", "time_unit='us'"),  # noqa: DTZ001
        ({"size": pl.Series([2**63], dtype=pl.UInt64), "opened": [None]}, "size", "is no Int64"),
    ],
)
def test_a_misfit_names_the_column(columns: dict[str, object], field: str, rule: str) -> None:
    with pytest.raises(ps.Misfit) as caught:
        ps.fit(ps.spec(Shop), pl.DataFrame(columns))
    assert caught.value.cause.stage == "contract"
    assert caught.value.cause.field == field
    assert rule in caught.value.cause.rule


def test_nanoseconds_fit_only_if_nothing_is_lost() -> None:
    when = pl.Series([1_000, 2_001], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"size": [1, 1], "opened": when})
    assert ps.fit(ps.spec(Shop), frame.head(1))["opened"].dt.microsecond().to_list() == [1]
    with pytest.raises(ps.Misfit, match="lose digits"):
        ps.fit(ps.spec(Shop), frame)


def test_validate_finds_what_breaks_the_domain() -> None:
    spec = ps.spec(Everything)
    frame = ps.synthetic(spec, 6, seed=1).with_columns(ok=pl.lit(True))
    good = pl.int_range(pl.len()) == 0
    broken = frame.with_columns(
        name=pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise("name"),
        id=pl.when(pl.int_range(pl.len()) == 2)
        .then(pl.col("id").str.to_uppercase())
        .otherwise("id"),
        ratio=pl.when(pl.int_range(pl.len()) == 3).then(float("nan")).otherwise("ratio"),
        tags=pl.when(pl.int_range(pl.len()) == 4)
        .then(pl.concat_list(pl.lit("a\0")))
        .otherwise("tags"),
        gender=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("x")).otherwise("gender"),
    )
    assert frame.filter(good).equals(broken.filter(good))
    found = {row: (cause.field, cause.rule) for row, cause in ps.validate(spec, broken)}
    assert found == {
        1: ("name", "null in a field that is not nullable"),
        2: ("id", "a UUID is 36 lower-case characters"),
        3: ("ratio", "a float is finite"),
        4: ("tags.*", "NUL in a str"),
        5: ("gender", "one of female, male"),
    }


def test_bounds_of_a_range_are_named() -> None:
    """Range(0, 10) would read as 0 to 10, whichever two bounds came first."""
    with pytest.raises(TypeError):
        ps.Range(0, 10)  # type: ignore[call-arg]
