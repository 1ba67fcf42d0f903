"""The `Generator` source: deterministic, resumable, at a rate."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import polars as pl
import pytest
from tests.unit.sources.doubles import StepClock

import penstock as ps
from penstock.contract import decode, spec
from penstock.errors import DeclarationError
from penstock.interfaces import Response
from penstock.sources.generator import Generator


class Order(ps.Contract):
    id: UUID = ps.key()
    kind: Literal["sale", "return"]
    pieces: Annotated[int, ps.Range(ge=1, le=9)]
    note: str | None
    date_added: datetime = ps.born()


class Reading(ps.Contract):
    sensor: Annotated[str, ps.Pattern(r"s[0-9]{3}")]
    value: float


def documents(responses: list[Response]) -> list[bytes]:
    return [bytes(raw) for r in responses for raw in msgspec.json.decode(r.body, type=RAW)]


RAW = list[msgspec.Raw]


def test_so_many_records_that_fit_the_contract(clock: StepClock) -> None:
    responses = list(Generator(Order, rows=10_000).poll(None, clock))
    values = documents(responses)
    assert len(values) == 10_000
    decoded = decode(spec(Order), pl.Series(values, dtype=pl.Binary))
    assert decoded.failures == []
    assert decoded.rows["id"].n_unique() == 10_000
    assert decoded.rows["date_added"].null_count() == 10_000
    assert decoded.rows["note"].null_count() > 0


def test_a_contract_without_a_key(clock: StepClock) -> None:
    responses = list(Generator(Reading, rows=5000).poll(None, clock))
    values = pl.Series(documents(responses), dtype=pl.Binary)
    assert decode(spec(Reading), values).failures == []
    assert values.n_unique() > 4900


def test_a_cursor_goes_on_with_the_same_records(clock: StepClock) -> None:
    whole = documents(list(Generator(Order, rows=9000).poll(None, clock)))
    for stop in (1, 3, 6):
        first = list(islice(Generator(Order, rows=9000).poll(None, clock), stop))
        rest = list(Generator(Order, rows=9000, batch=77).poll(first[-1].cursor, clock))
        assert documents(first + rest) == whole


def test_the_end_is_remembered(clock: StepClock) -> None:
    assert list(Generator(Order, rows=9).poll({"row": 9}, clock)) == []
    assert list(Generator(Order, rows=0).poll(None, clock)) == []


def test_another_seed_gives_other_records(clock: StepClock) -> None:
    one, two = (documents(list(Generator(Order, rows=9, seed=s).poll(None, clock))) for s in (1, 2))
    assert not set(one) & set(two)


def test_a_rate_gives_small_responses_at_even_times(clock: StepClock) -> None:
    start = clock.now()
    responses = list(islice(Generator(Order, rate=1000).poll(None, clock), 201))
    assert [len(documents([r])) for r in responses] == [10] * 201
    assert (clock.now() - start).total_seconds() == pytest.approx(2.0)


def test_a_high_rate_keeps_to_the_batch(clock: StepClock) -> None:
    responses = list(islice(Generator(Order, rate=500_000, batch=800).poll(None, clock), 20))
    assert max(len(documents([r])) for r in responses) == 800


def test_a_jumping_clock_neither_stalls_nor_floods(clock: StepClock) -> None:
    poll = Generator(Order, rate=100).poll(None, clock)
    jump(clock, poll, -3600)
    assert max(clock.waits) < 0.1
    clock.waits.clear()
    jump(clock, poll, 3600)
    late = list(islice(poll, 200))
    assert len(late) == 200
    assert sum(clock.waits) == pytest.approx(1.0, abs=0.05)


def jump(clock: StepClock, poll: Any, seconds: float) -> None:
    from datetime import timedelta

    next(poll)
    clock.time += timedelta(seconds=seconds)
    next(poll)


def test_wrong_declarations() -> None:
    for options in ({"rows": -1}, {"rate": 0.0}, {"batch": 0}):
        with pytest.raises(DeclarationError) as caught:
            Generator(Order, **options)
        assert caught.value.file == __file__


def test_it_says_what_it_is() -> None:
    assert Generator(Order).describe() == "generator of endless Order"
    assert Generator(Order, rows=1000, rate=50).describe() == "generator of 1,000 Order at 50/s"
