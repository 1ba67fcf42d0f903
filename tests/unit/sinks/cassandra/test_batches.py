"""Batches keep to the limit, and hold rows of one node only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from cassandra.metadata import Murmur3Token
from hypothesis import given
from hypothesis import strategies as st

from penstock.plan import Lane
from penstock.profile import Store
from penstock.sinks.cassandra.batches import MOST, Batch, Cutter
from penstock.sinks.cassandra.limits import CELL
from penstock.sinks.cassandra.session import Owners
from penstock.sinks.cassandra.table import Table
from penstock.testing.conformance.subjects import Person, deleted, lane, people, rows

LIMIT = 10_000
RING = [(-(2**62), "a"), (0, "b"), (2**61, "a"), (2**62, "c")]


class Session:
    def __init__(self, ring: list[tuple[int, Any]]) -> None:
        self._ring = ring

    def prepare(self, statement: str) -> Any:
        return SimpleNamespace(query_id=statement[:6].encode())

    def owners(self) -> Owners:
        return Owners(self._ring)


def cut(frame: pl.DataFrame, ring: list[tuple[int, Any]]) -> list[Batch]:
    made: Lane = lane(Person, "upsert")
    table = Table(made, "shop", Store("s", "cassandra://h/shop"))
    return list(Cutter(Session(ring), table, LIMIT).cut(frame))  # type: ignore[arg-type]


def numbers(batches: list[Batch]) -> list[int]:
    return [batch.numbers[at] for batch in batches for at in range(batch.start, batch.end)]


def crowd(*sizes: int) -> pl.DataFrame:
    return rows(people(*((n, "x" * size, n) for n, size in enumerate(sizes))))


@given(st.lists(st.integers(0, 12_000), max_size=60))
def test_a_batch_keeps_to_the_limit_or_is_one_row(sizes: list[int]) -> None:
    batches = cut(crowd(*sizes), RING[:1])
    assert sorted(numbers(batches)) == [*range(len(sizes))]
    for batch in batches:
        weight = len(batch.packed.rows(batch.start, batch.end)) + len(batch) * 3 * CELL
        assert weight <= LIMIT or len(batch) == 1
        assert batch.host is None
        assert len(batch.statement) == len(batch) <= MOST


def test_rows_go_to_the_node_that_owns_them() -> None:
    frame = crowd(*[30] * 6000)
    batches = cut(frame, RING)
    assert sorted(numbers(batches)) == [*range(6000)]
    for batch in batches:
        for at in range(batch.start, batch.end):
            key = int(frame["id"][batch.numbers[at]]).to_bytes(8, "big")
            token = Murmur3Token.hash_fn(key)
            assert batch.host == next((h for t, h in RING if t >= token), RING[0][1])


@pytest.mark.parametrize(
    ("token", "host"),
    [
        (-(2**63), "a"),
        (-(2**62), "a"),
        (-(2**62) + 1, "b"),
        (1, "a"),
        (2**61 + 1, "c"),
        (2**63 - 1, "a"),
    ],
)
def test_a_token_belongs_to_the_next_one_round_the_ring(token: int, host: str) -> None:
    owners = Owners(RING)
    assert owners.host(owners.place(token)) == host


def test_deletes_have_a_statement_of_their_own() -> None:
    frame = deleted(rows(people((1, None, None), (2, "b", 2), (3, None, None))), 1, 3)
    batches = cut(frame, RING[:1])
    kinds = {bytes(b.packed.rows(b.start, b.end))[3:9]: len(b) for b in batches}
    assert kinds == {b"DELETE": 2, b"INSERT": 1}
