"""Every value that a contract takes goes through the table and back without loss."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from penstock.contract import spec, synthetic
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import Everything, rows, steps

MakeSink = Callable[..., PostgresqlSink]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ints = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(
    lambda n: Decimal(("-" if n < 0 else "") + f"{abs(n):039d}"[:-9] + "." + f"{abs(n):039d}"[-9:])
)
moments = st.datetimes(timezones=st.just(UTC))
inners = st.fixed_dictionaries(
    {
        "name": texts,
        "amount": decimals,
        "at": st.none() | moments,
        "raw": st.binary(max_size=20),
        "tags": st.lists(texts, max_size=3),
    }
)
records = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "name": texts,
        "code": st.none() | st.text(string.digits, min_size=1, max_size=30),
        "count": ints,
        "ratio": st.none() | floats,
        "good": st.booleans(),
        "price": st.none() | decimals,
        "day": st.dates(date(1, 1, 1), date(9999, 12, 31)),
        "at": moments,
        "raw": st.none() | st.binary(max_size=20),
        "colour": st.sampled_from(["red", "blue"]),
        "size": st.sampled_from(["s", "é'\""]),
        "numbers": st.none() | st.lists(ints, max_size=3),
        "maybe": st.lists(st.none() | floats, max_size=3),
        "inner": inners,
        "inners": st.none() | st.lists(inners, max_size=2),
    }
)

quietly = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quietly
@given(values=st.lists(records, min_size=1, max_size=4))
def test_any_values(sink: MakeSink, values: list[dict[str, Any]]) -> None:
    _there_and_back(sink, pl.DataFrame(values, schema=spec(Everything).polars, orient="row"))


@quietly
@given(seed=st.integers(0, 2**32))
def test_made_up_values(sink: MakeSink, seed: int) -> None:
    _there_and_back(sink, synthetic(spec(Everything), 20, seed))


def test_a_year_of_one_digit(sink: MakeSink) -> None:
    first = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    frame = synthetic(spec(Everything), 3, 1)
    _there_and_back(sink, frame.with_columns(at=pl.lit(first, pl.Datetime("us", "UTC"))))


def _there_and_back(sink: MakeSink, frame: pl.DataFrame) -> None:
    made = sink("append", Everything)
    before = made.claim({0: 1})
    start = before[0].next
    placed = rows(frame, start=start)
    made.commit([made.stage(placed)], steps(before, {0: start + frame.height}))
    found = pl.concat(list(made.positions())).filter(pl.col("_offset") >= start).sort("_offset")
    made.close()
    assert_frame_equal(found.select(frame.columns), frame)
