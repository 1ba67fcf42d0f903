from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.errors import DeclarationError
from penstock.interfaces import Clock, Cursor, Framing, Response


class Line(ps.Contract):
    item: str


class Order(ps.Contract):
    id: str = ps.key()
    email: str | None
    city: str
    total: float
    lines: list[Line]
    placed: datetime = ps.born()


class OrderLine(ps.Contract):
    id: str = ps.key()
    email: str | None
    city: str
    total: float
    lines: Line
    placed: datetime = ps.born()


class Other(ps.Contract):
    city: str = ps.key()


class Keyless(ps.Contract):
    city: str


class Numbered(ps.Contract):
    id: int = ps.key()


class Nothing:
    framing = Framing()
    every: float | None = None

    def describe(self) -> str:
        return "nothing"

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        yield from ()

    def check(self) -> None:
        return


def to_other(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("city")


def orders() -> ps.pipeline.Stream:
    return ps.Pipeline("p").topic("orders", Order)


def landed(name: str = "raw") -> ps.pipeline.Stream:
    return ps.Pipeline("p").source(Nothing(), Order, land=name)


def two_sinks(first: ps.pipeline.Stream, second: ps.pipeline.Stream) -> None:
    first.sink("t", store="w", mode="append")
    second.sink("t", store="w", mode="append")


def two_topics(stream: ps.pipeline.Stream) -> None:
    stream.topic("again")
    stream.topic("again")


AT_DECLARATION: dict[str, tuple[Callable[[], object], str]] = {
    "no such column": (lambda: orders().filter(pl.col("citty") == "x"), "citty"),
    "no condition": (lambda: orders().filter(pl.col("total") + 1), "Boolean"),
    "no expression": (lambda: orders().filter(lambda row: row), "expression"),  # type: ignore[arg-type]
    "wrong types": (lambda: orders().filter(pl.col("city").dt.year() == 1), "cannot be computed"),
    "explode no field": (lambda: orders().explode("x", OrderLine), "no such field"),
    "explode no list": (lambda: orders().explode("city", OrderLine), "only a list"),
    "explode other": (lambda: orders().explode("lines", Other), "same fields"),
    "explode same": (lambda: orders().explode("lines", Order), "must be an object"),
    "two contracts": (lambda: two_sinks(s := orders(), s.map(to_other, Other)), "one contract"),
    "lane twice": (lambda: two_sinks(s := orders(), s), "one sink"),
    "topic twice": (lambda: two_topics(orders()), "taken by the topic"),
    "topic twice, cure": (lambda: two_topics(orders()), r"a\.merge\(b\)\.topic"),
    "merge nothing": (lambda: orders().merge(), "nothing to merge"),
    "merge itself": (lambda: (s := orders()).merge(s), "two of the merged streams come from"),
    "merge one log": (lambda: (s := orders()).merge(s.filter(pl.col("total") > 1)), "one filter"),
    "merge pipelines": (lambda: orders().merge(orders()), "another one than"),
    "merge contracts": (lambda: (s := orders()).merge(s.map(to_other, Other)), "one contract"),
    "merge a table": (lambda: orders().merge("t"), "no stream"),  # type: ignore[arg-type]
    "landing as topic": (lambda: landed().topic("raw"), "taken by the landing"),
    "reads its own": (lambda: (s := landed()).topic("t") and s.pipeline.topic("t", Order), "taken"),
    "nullable key": (lambda: ps.Pipeline("p").topic("t", Order, key="email"), "may be null"),
    "key of no field": (lambda: orders().topic("t", key=("id", "nope")), "no field 'nope'"),
    "key of a list": (lambda: orders().topic("t", key="lines"), "cannot be a key"),
    "key of a float": (lambda: orders().topic("t", key="total"), "cannot be a key"),
    "empty key": (lambda: orders().topic("t", key=()), "one or more"),
    "key twice": (lambda: orders().topic("t", key=("id", "id")), "different fields"),
    "no partitions": (lambda: orders().topic("t", partitions=0), "partitions"),
    "no mode": (lambda: orders().sink("t", store="w", mode="merge"), "'merge'"),  # type: ignore[arg-type]
    "log as store": (lambda: orders().sink("t", store="log"), "own"),
    "our schema": (lambda: orders().sink("t", store="landing"), "own"),
    "their schema": (lambda: orders().sink("t", store="pg_catalog"), "own"),
    "at sign": (lambda: orders().sink("t", store="a@b"), "'@'"),
    "empty name": (lambda: orders().sink(" ", store="w"), "empty"),
    "no name": (lambda: ps.Pipeline(None), "must be a str"),  # type: ignore[arg-type]
    "long table": (lambda: orders().sink("é" * 32, store="w"), "64 bytes"),
    "long topic": (lambda: orders().topic("t" * 64), "64 bytes"),
    "long landing": (lambda: landed("t" * 59), "at most 58"),
    "newline": (lambda: orders().sink("a\nb", store="w"), "control"),
    "NUL": (lambda: orders().sink("a\0b", store="w"), "control"),
    "surrogate": (lambda: orders().sink("\ud800", store="w"), "control"),
    "no contract": (lambda: ps.Pipeline("p").topic("t", dict), "no contract"),  # type: ignore[arg-type]
    "no source": (lambda: ps.Pipeline("p").source(Order, Order, land="x"), "no source"),  # type: ignore[arg-type]
    "no function": (lambda: orders().map(Order, to_other), "no contract"),  # type: ignore[arg-type]
    "two arguments": (lambda: orders().map(lambda a, b: a, Other), "one frame"),  # type: ignore[arg-type,misc]
    "no age": (lambda: ps.Retention(age="7 dogs"), "7 dogs"),
    "no size": (lambda: ps.Retention(size="many"), "many"),
}


@pytest.mark.parametrize("case", AT_DECLARATION)
def test_wrong_declarations_name_the_users_line(case: str) -> None:
    declare, words = AT_DECLARATION[case]
    with pytest.raises(DeclarationError, match=words) as caught:
        declare()
    assert caught.value.file == __file__
    helpers = inspect.getsource(two_sinks) + inspect.getsource(two_topics)
    assert caught.value.line is not None
    source = inspect.getsource(inspect.getmodule(orders) or orders).splitlines()
    line = source[caught.value.line - 1].strip()
    assert f'"{case}":' in line or line in helpers or "source(Nothing()" in line


def keyed_by_city() -> ps.Pipeline:
    stream = orders()
    stream.map(to_other, Other).sink("cities", store="w")
    return stream.pipeline


def other_type() -> ps.Pipeline:
    stream = orders()
    stream.map(lambda f: f.select(id=pl.len()), Numbered).sink("n", store="w")
    return stream.pipeline


def upsert_of_landing() -> ps.Pipeline:
    stream = landed()
    stream.sink("t", store="w", mode="upsert")
    return stream.pipeline


def upsert_without_key() -> ps.Pipeline:
    stream = orders()
    stream.map(to_other, Keyless).sink("t", store="w", mode="upsert")
    return stream.pipeline


def upsert_of_keyless_topic() -> ps.Pipeline:
    pipeline = ps.Pipeline("p")
    keyless = pipeline.topic("t", Keyless)
    keyless.map(to_other, Other).sink("t", store="w")
    return pipeline


def nothing_at_all() -> ps.Pipeline:
    return ps.Pipeline("p")


def no_end() -> ps.Pipeline:
    stream = orders()
    stream.filter(pl.col("total") > 1)
    stream.pipeline.topic("more", Order).sink("t", store="w")
    return stream.pipeline


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (keyed_by_city, r"keyed by 'id'.*\.topic\(.*key='city'"),
        (other_type, "could overtake"),
        (upsert_of_landing, "reads the landing 'raw'"),
        (upsert_without_key, "has no key"),
        (upsert_of_keyless_topic, "has no key; give it key='city'"),
        (nothing_at_all, "has no sink"),
        (no_end, "nothing is done with 'orders'"),
    ],
)
def test_wrong_programs_are_refused_when_compiled(
    make: Callable[[], ps.Pipeline], words: str
) -> None:
    pipeline = make()
    with pytest.raises(DeclarationError, match=words) as caught:
        plan.compile(pipeline)
    assert caught.value.file == __file__


@pytest.mark.parametrize(
    "name", ['say "hi"', "select", "größe 🐟", "a b", "x" * 63, "a@b", "'; --"]
)
def test_names_may_be_hostile(name: str) -> None:
    stream = orders()
    stream.topic(name).sink(name, store="w")
    (first, second) = plan.compile(stream.pipeline)
    assert [lane.name for lane in first.lanes] == [f"{name}@log"]
    assert second.name == name
    assert [lane.table for lane in second.lanes] == [name]


def test_a_key_given_to_a_topic_is_the_key_of_its_sinks() -> None:
    stream = orders().topic("by_city", partitions=3, key="city")
    stream.filter(pl.col("total") > 1).sink("latest", store="w")
    first, second = plan.compile(stream.pipeline)
    assert first.lane("by_city@log").partitions == 3
    assert second.lane("latest@w").key == ("city",)
    assert second.lane("latest@w").mode == "upsert"


def test_a_sink_appends_without_a_key_or_a_topic() -> None:
    stream = landed()
    stream.sink("a", store="w")
    topic = stream.topic("t")
    topic.map(to_other, Keyless).sink("b", store="w")
    topic.sink("c", store="w", mode="append")
    lanes = [lane for segment in plan.compile(stream.pipeline) for lane in segment.lanes]
    modes = {lane.table: (lane.mode, lane.key) for lane in lanes}
    assert modes == {
        "a": ("append", ()),
        "t": ("topic", ("id",)),
        "b": ("append", ()),
        "c": ("append", ()),
    }


def test_more_than_two_explodes_do_not_fit_into_a_position() -> None:
    class Deep(ps.Contract):
        a: list[list[list[str]]]

    class Deep2(ps.Contract):
        a: list[list[str]]

    class Deep1(ps.Contract):
        a: list[str]

    class Deep0(ps.Contract):
        a: str

    pipeline = ps.Pipeline("p")
    two = pipeline.topic("t", Deep).explode("a", Deep2).explode("a", Deep1)
    two.sink("two", store="w")
    assert plan.compile(pipeline)
    two.explode("a", Deep0).sink("three", store="w")
    with pytest.raises(DeclarationError, match="at most 2"):
        plan.compile(pipeline)


def two_sources(key: str | None = None) -> ps.pipeline.Stream:
    pipeline = ps.Pipeline("p")
    first = pipeline.source(Nothing(), Order, land="a")
    second = pipeline.topic("b", Order, key=key)
    return first.merge(second).topic("both", partitions=4, key="city" if key else None)


def test_merged_streams_write_one_topic_from_a_segment_each() -> None:
    both = two_sources()
    both.sink("t", store="w")
    first, second, third = plan.compile(both.pipeline)
    assert [segment.name for segment in (first, second, third)] == ["a", "b", "both"]
    assert first.lanes == second.lanes
    assert first.lane("both@log").shared
    assert (third.external, third.partitions, third.key) == (False, 4, ("id",))


def test_merged_streams_of_different_keys_need_one() -> None:
    assert plan.compile(two_sources("city").pipeline)
    pipeline = ps.Pipeline("p")
    first = pipeline.source(Nothing(), Order, land="a")
    with pytest.raises(DeclarationError, match="different keys; say which by key="):
        first.merge(pipeline.topic("b", Order, key="city")).topic("both")
