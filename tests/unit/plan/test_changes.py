from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

import penstock as ps
from penstock import plan, testing
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.plan import REPLAY, MicroBatch
from penstock.records import Counts, Position, Span

BatchOf = Callable[..., MicroBatch]


class Order(ps.Contract):
    id: int = ps.key()
    item: str


class Log(ps.Contract):
    id: int
    item: str


class Changes:
    framing = Framing(changes=True)
    every: float | None = None

    def describe(self) -> str:
        return "changes"

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        yield from ()

    def check(self) -> None:
        return


INSERT = b'{"op":"insert","key":{"id":1},"after":{"id":1,"item":"a","more":[]}}'
UPDATE = b'{"op":"update","key":{"id":1},"after":{"id":1,"item":"b"},"lsn":"0/1"}'
DELETE = b'{"op":"delete","key":{"id":1}}'


def mirrored() -> ps.Pipeline:
    pipeline = ps.Pipeline("p")
    orders = pipeline.source(Changes(), Order, land="l").topic("orders")
    orders.sink("orders", store="w")
    return pipeline


def appended() -> ps.Pipeline:
    pipeline = ps.Pipeline("p")
    pipeline.source(Changes(), Order, land="l").sink("orders", store="w")
    return pipeline


def response(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_inserts_and_updates_are_rows_and_deletes_are_deletes() -> None:
    other = INSERT.replace(b'"id":1', b'"id":2')
    result = testing.run(mirrored(), [response(INSERT, other, UPDATE), response(DELETE)])
    assert result["orders@w"] == [{"id": 2, "item": "a"}]
    assert result.letters == []


def test_a_row_after_a_delete_of_its_key_is_there() -> None:
    result = testing.run(mirrored(), [response(INSERT, DELETE, UPDATE)])
    assert result["orders@w"] == [{"id": 1, "item": "b"}]


def test_the_books_balance(batch_of: BatchOf) -> None:
    [segment, _] = plan.compile(mirrored())
    bodies = [response(INSERT, UPDATE, DELETE), b"", response(DELETE, b"junk")]
    outcome = segment.plan.run(batch_of(bodies), ["orders@log"])
    lane = outcome.lanes["orders@log"]
    assert lane.counts == {0: Counts(records=3, expanded=2, dead=1)}
    assert lane.rows["_deleted"].to_list() == [False, False, True, True]
    places = lane.rows.select("_offset", "_index").rows()
    assert places == [(100, 0), (100, 1), (100, 2), (102, 0)]
    assert [letter.position for letter in outcome.letters] == [Position(0, 102, 1)]


def test_an_append_sink_takes_rows_and_buries_deletes(batch_of: BatchOf) -> None:
    [segment] = plan.compile(appended())
    outcome = segment.plan.run(batch_of([response(INSERT, DELETE)]), ["orders@w"])
    lane = outcome.lanes["orders@w"]
    assert lane.rows["item"].to_list() == ["a"]
    assert lane.counts == {0: Counts(records=1, expanded=1, dead=1)}
    [letter] = outcome.letters
    assert letter.position == Position(0, 100, 1)
    assert letter.lanes == ("orders@w",)


def test_a_replay_gives_the_delete_that_it_names(batch_of: BatchOf) -> None:
    [segment, _] = plan.compile(mirrored())
    records = batch_of([response(INSERT, DELETE)]).records
    own = records.with_columns(
        index=pl.lit(1, pl.Int64), lanes=pl.lit(["orders@log"]), at=pl.lit(0, pl.Int64)
    )
    outcome = segment.plan.run(MicroBatch({REPLAY: Span(0, 1)}, own), ["orders@log"])
    lane = outcome.lanes["orders@log"]
    assert lane.rows.select("id", "_index", "_deleted").rows() == [(1, 1, True)]
    assert lane.counts == {REPLAY: Counts(records=1)}


def test_what_is_no_change_is_a_dead_letter() -> None:
    bad = {
        b"[]": "not a change of a row",
        b'{"op":"insert","key":{"id":1}}': "a change with neither a row nor a delete",
        b'{"op":"update","key":{"no":1},"after":{"id":1,"item":"a"}}': "the table's key is (no)",
        b'{"op":"update","key":{"id":1},"after":{"id":1},"unchanged":["item"]}': "was not sent",
        b'{"op":"delete","key":{"id":"x"}}': "expected an int",
        INSERT[:-5]: "not a change of a row",
    }
    for line, rule in bad.items():
        result = testing.run(mirrored(), [response(line, INSERT)])
        [letter] = result.letters
        assert rule in letter.cause.rule
        assert letter.position.index == 0
        assert len(result["orders@w"]) == 1


def test_an_unchanged_value_that_the_contract_does_not_name_does_no_harm() -> None:
    line = UPDATE[:-1] + b',"unchanged":["photo"]}'
    assert testing.run(mirrored(), [response(line)])["orders@w"] == [{"id": 1, "item": "b"}]


def test_records_and_deletes_of_a_test_are_made_into_changes() -> None:
    first, second = {"id": 1, "item": "a"}, {"id": 2, "item": "b"}
    result = testing.run(mirrored(), [first, second, testing.delete(id=1)])
    assert result["orders@w"] == [second]


def test_a_contract_without_a_key_has_no_use_for_a_delete() -> None:
    pipeline = ps.Pipeline("p")
    pipeline.source(Changes(), Log, land="l").sink("log", store="w")
    result = testing.run(pipeline, [response(INSERT, DELETE)])
    assert len(result["log"]) == 1
    [letter] = result.letters
    assert "no key" in letter.cause.rule
