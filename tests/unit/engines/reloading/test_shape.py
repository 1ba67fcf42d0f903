"""What an edit changes: computation alone, or what a run must form anew for."""

from __future__ import annotations

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.engines.reloading.shape import Shape, differences, shape
from penstock.pipeline import Pipeline, Stream


class Order(ps.Contract):
    id: str = ps.key()
    total: int


class Wider(ps.Contract):
    id: str = ps.key()
    total: int
    note: str | None


def rows(pipeline: Pipeline, source: object = None) -> Stream:
    given = source or ps.Http("http://localhost/a", records="x", auth=ps.Bearer("one"))
    return pipeline.source(given, Order, land="raw")  # type: ignore[arg-type]


def of(pipeline: Pipeline) -> Shape:
    return shape(plan.compile(pipeline))


def plain() -> Pipeline:
    pipeline = ps.Pipeline("shop")
    rows(pipeline).topic("orders").sink("orders", store="one")
    return pipeline


def test_the_same_program_has_the_same_shape() -> None:
    assert differences(of(plain()), of(plain())) == []


def test_another_computation_is_the_same_shape() -> None:
    pipeline = ps.Pipeline("shop")
    stream = rows(pipeline).filter(pl.col("total") > 3)
    stream.map(lambda frame: frame.reverse(), Order).topic("orders").sink("orders", store="one")
    assert differences(of(plain()), of(pipeline)) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ps.Http("http://localhost/b", records="x", auth=ps.Bearer("one")), ["changed"]),
        (ps.Http("http://localhost/a", records="x", auth=ps.Bearer("two")), ["changed"]),
        (ps.Http("http://localhost/a", records="x", auth=ps.Bearer("one"), rate=3), ["changed"]),
        (ps.Http("http://localhost/a", records="x", auth=ps.Bearer("one")), []),
        (ps.Generator(Order, rows=1), ["changed", "changed"]),
    ],
)
def test_another_source_is_another_shape(source: object, words: list[str]) -> None:
    pipeline = ps.Pipeline("shop")
    rows(pipeline, source).topic("orders").sink("orders", store="one")
    found = differences(of(plain()), of(pipeline))
    assert [line.rpartition(" ")[2] for line in found] == words


def test_lanes_topics_and_contracts_are_shape() -> None:
    pipeline = ps.Pipeline("shop")
    stream = rows(pipeline)
    stream.topic("all", partitions=2).sink("orders", store="one")
    stream.map(lambda frame: frame.with_columns(note=None), Wider).sink("wide", store="two")
    assert differences(of(plain()), of(pipeline)) == [
        "lane all@log is new",
        "lane wide@two is new",
        "topic all is new",
        "lane orders@log is gone",
        "topic orders is gone",
        "lane orders@one has changed",
    ]
