from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest

import penstock.contract as ps

from .everything import Everything

D = Decimal


def contract(rule: Any) -> ps.ContractSpec:
    return ps.spec(type("Made", (ps.Contract,), {"__annotations__": {"a": rule, "id": int}}))


@pytest.mark.parametrize(
    "rule",
    [
        Annotated[int, ps.Range(gt=-5, lt=5)],
        Annotated[int, ps.Range(ge=2**62)],
        Annotated[int, ps.Range(le=-10)],
        Annotated[int, ps.Range(ge=-(2**63), le=2**63 - 1)],
        Annotated[float, ps.Range(gt=0, lt=1)],
        Annotated[float, ps.Range(ge=-1e300, le=1e300)],
        Annotated[D, ps.Digits(38, 9), ps.Range(ge=0, le=100)],
        Annotated[D, ps.Digits(2, 2)],
        Annotated[D, ps.Digits(38, 38)],
        Annotated[D, ps.Digits(5, 0), ps.Range(gt=-3)],
        Annotated[date, ps.Range(ge=date(1900, 1, 1), le=date(1950, 1, 1))],
        Annotated[datetime, ps.Range(lt=datetime(1970, 1, 1, tzinfo=UTC))],
        Annotated[str, ps.Length(50, 60)],
        Annotated[str, ps.Length(0, 0)],
        Annotated[bytes, ps.Length(3, 4)],
        Annotated[list[int], ps.Length(5)],
        Annotated[str, ps.Pattern(r"[A-Z]{2}\d+(-x)?|foo")],
        Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+\.(com|org)")],
        Annotated[int, ps.OneOf(3, 5)],
        Annotated[D, ps.Digits(5, 2), ps.OneOf(D("1.5"))],
        Annotated[int, ps.Check(lambda v: v % 2 == 0, "is even")],
        list[list[Annotated[str, ps.Length(1, 2)]]],
    ],
    ids=str,
)
def test_made_up_rows_fit_and_come_back(rule: Any) -> None:
    spec = contract(rule)
    frame = ps.synthetic(spec, 200, seed=1)
    assert len(frame) == 200
    assert ps.validate(spec, frame) == []
    decoded = ps.decode(spec, ps.encode(spec, frame))
    assert decoded.rows.drop("_row", "_index").equals(frame)


@pytest.mark.parametrize(
    "rule",
    [
        Annotated[int, ps.Check(lambda v: v == -77, "is -77")],
        Annotated[str, ps.Pattern(r"\p{L}+")],
    ],
    ids=str,
)
def test_rows_that_break_a_rare_rule_remain(rule: Any) -> None:
    spec = contract(rule)
    frame = ps.synthetic(spec, 20, seed=1)
    assert len(frame) == 20
    assert len(ps.validate(spec, frame)) == 20


def test_the_seed_alone_decides() -> None:
    spec = ps.spec(Everything)
    assert ps.synthetic(spec, 50, seed=1).equals(ps.synthetic(spec, 50, seed=1))
    assert not ps.synthetic(spec, 50, seed=1).equals(ps.synthetic(spec, 50, seed=2))
    assert ps.synthetic(spec, 5000, seed=1)["id"].is_unique().all()
