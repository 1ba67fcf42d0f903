"""Fan-out and fan-in on both logs: every writer of a topic is accounted for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import polars as pl
import pytest
from tests.live.engine.conftest import Given, Place
from tests.live.engine.test_reconcile_topics import damage, double, lose

import penstock as ps
from penstock import plan
from penstock.engines.status import Board
from penstock.engines.systems import Systems
from penstock.engines.upkeep import Upkeep
from penstock.errors import ContractError
from penstock.home import deadletters, replays
from penstock.home.database import Home
from penstock.logs.postgresql import open_topic


class Person(ps.Contract):
    name: str
    age: int


class User(ps.Contract):
    name: str = ps.key()
    age: int


@pytest.fixture(params=["postgresql", "kafka"])
def place(request: pytest.FixtureRequest, database: str) -> Place:
    if request.param == "postgresql":
        return Place(database)
    kafka, name = map(request.getfixturevalue, ("kafka", "topic_name"))
    return Place(database, log=kafka, prefix=f"{name}_")


def streams(
    pipeline: ps.Pipeline, web: int, app: int, to_user: Callable[[pl.DataFrame], pl.DataFrame]
) -> list[ps.pipeline.Stream]:
    """Two landings; the second half of the first one's names are in the second one, too."""
    given = {
        "raw_web": [{"name": f"p{n}", "age": n} for n in range(web)],
        "raw_app": [{"name": f"p{n + web // 2}", "age": 1000 + n} for n in range(app)],
    }
    return [
        pipeline.source(Given.records(*records), Person, land=land).map(to_user, User)
        for land, records in given.items()
    ]


def merged(
    place: Place,
    web: int = 40,
    app: int = 60,
    to_user: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> ps.Pipeline:
    pipeline = ps.Pipeline(f"{place.prefix}people")
    first, second = streams(pipeline, web, app, to_user)
    users = first.merge(second).topic(f"{place.prefix}users", partitions=2)
    users.sink("users", store="one")
    users.sink("history", store="two", mode="append")
    return pipeline


def test_two_sources_in_one_topic_are_both_accounted_for(place: Place) -> None:
    pipeline = merged(place)
    place.run(pipeline)
    report = place.reconcile(pipeline)
    assert report.differences == ()
    assert report.notes == ()
    topic = f"{place.prefix}users@log"
    written = {one.segment: one.counts.written for one in report.lanes if one.lane == topic}
    assert written == {"raw_web": 40, "raw_app": 60}
    history = place.rows("SELECT name, age, _partition, _offset FROM two.history ORDER BY 3, 4")
    assert len(history) == 100
    last = {name: age for name, age, *_ in history}
    assert dict(place.rows("SELECT name, age FROM one.users")) == last  # the topic's order decides


@pytest.mark.parametrize("how", [lose, double])
def test_damage_to_one_writers_records_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch, how: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    damage(monkeypatch, place, how)
    pipeline = merged(place)
    place.run(pipeline)
    monkeypatch.undo()
    differences = place.reconcile(pipeline).differences
    assert any("p7" in words for words in differences), differences
    if not place.log:  # Kafka's offsets do not count records
        assert not place.reconcile(pipeline, deep=False).balanced


def test_a_stream_joins_and_leaves(place: Place) -> None:
    def alone() -> ps.Pipeline:
        pipeline = ps.Pipeline(f"{place.prefix}people")
        first, second = streams(pipeline, 40, 60, lambda rows: rows)
        users = first.topic(f"{place.prefix}users", partitions=2)
        users.sink("users", store="one")
        users.sink("history", store="two", mode="append")
        second.sink("aside", store="two")
        return pipeline

    place.run(alone())
    assert place.reconcile(alone()).notes == ()
    place.run(merged(place))
    report = place.reconcile(merged(place))
    assert report.differences == ()
    place.run(alone())
    report = place.reconcile(alone())
    assert report.differences == ()
    assert place.rows("SELECT count(*) FROM two.history") == [(100,)]


def test_dead_letters_of_one_writer_are_replayed_into_the_topic(place: Place) -> None:
    def fails(rows: pl.DataFrame) -> pl.DataFrame:
        if (rows["age"] == 1007).any():
            raise ValueError("no such age")
        return rows

    place.run(merged(place, to_user=fails))
    with Home(place.url) as home, home.transaction() as cursor:
        chosen = deadletters.Selection(f"{place.prefix}people")
        assert replays.replay(cursor, chosen, by="test").letters == 1
    place.run(merged(place))
    assert place.rows("SELECT count(*) FROM two.history") == [(100,)]
    assert place.reconcile(merged(place)).differences == ()


def test_one_landing_to_many_topics_and_one_topic_to_many_and_on(place: Place) -> None:
    pipeline = ps.Pipeline(f"{place.prefix}people")
    people = pipeline.source(
        Given.records(*({"name": f"p{n}", "age": n} for n in range(90))), Person, land="raw"
    ).map(lambda rows: rows, User)
    topic = f"{place.prefix}{{}}".format
    young = people.filter(pl.col("age") < 30).topic(topic("young"))
    old = people.filter(pl.col("age") >= 30).topic(topic("old"), partitions=2)
    old.filter(pl.col("age") < 60).topic(topic("middle")).sink("middle", store="one")
    older = old.filter(pl.col("age") >= 60).topic(topic("older"))
    again = older.merge(young).topic(topic("again"))
    again.sink("again", store="one")
    again.topic(topic("copy")).sink("copy", store="two", mode="append")
    old.sink("old", store="one")
    old.sink("old", store="two", mode="append")
    place.run(pipeline)
    assert place.reconcile(pipeline).differences == ()
    sizes = {
        table: place.rows(f"SELECT count(*), min(age), max(age) FROM {table}")[0]
        for table in ("one.middle", "one.again", "two.copy", "one.old", "two.old")
    }
    assert sizes == {
        "one.middle": (30, 30, 59),
        "one.again": (60, 0, 89),
        "two.copy": (60, 0, 89),
        "one.old": (60, 30, 89),
        "two.old": (60, 30, 89),
    }


# --- two pipelines ---


class Named(ps.Contract):
    name: str = ps.key()


class Wrong(ps.Contract):
    name: str = ps.key()
    age: str
    city: str


def writer(place: Place, people: int, retention: ps.Retention | None = None) -> ps.Pipeline:
    pipeline = ps.Pipeline(f"{place.prefix}people")
    records = [{"name": f"p{n}", "age": n} for n in range(people)]
    users = pipeline.source(Given.records(*records), Person, land="raw").map(lambda r: r, User)
    users.topic(f"{place.prefix}users", retention=retention)
    return pipeline


def reader(place: Place, contract: type[ps.Contract] = Named) -> ps.Pipeline:
    pipeline = ps.Pipeline(f"{place.prefix}reader")
    pipeline.topic(f"{place.prefix}users", contract).sink("names", store="two")
    return pipeline


def test_a_reader_that_cannot_read_is_refused_with_who_writes(place: Place) -> None:
    place.run(writer(place, 5))
    with pytest.raises(ContractError) as caught:
        place.run(reader(place, Wrong))
    words = str(caught.value)
    assert "age is written as int and read as str" in words
    assert "city is not written" in words
    assert f"written by pipeline '{place.prefix}people' (version 1" in words
    place.run(reader(place))
    assert place.rows("SELECT count(*) FROM two.names") == [(5,)]
    assert place.reconcile(reader(place)).differences == ()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
@pytest.mark.parametrize("held", [True, False])
def test_retention_waits_for_readers_of_other_pipelines(place: Place, held: bool) -> None:
    short = ps.Retention(age="1s")
    place.run(writer(place, 20, short))
    if held:
        place.run(reader(place))
    place.run(writer(place, 50, short))
    program = writer(place, 50, short)
    deadline = time.monotonic() + 60
    with Systems(place.profile(), program.name) as systems:
        upkeep = Upkeep(plan.compile(reader(place)), systems, Board(place.events.append))
        oldest = 0
        while not oldest and time.monotonic() < deadline - (50 if held else 0):
            upkeep.round()
            with closing(open_topic(place.url, "users")) as log:
                oldest = log.spans()[0].start
            time.sleep(0.2)
    # What the reader has read may go; what it has not, stays.
    assert (oldest <= 20) if held else oldest == 50
    if held:
        place.run(reader(place))
        assert place.rows("SELECT count(*) FROM two.names") == [(50,)]
        assert Counter(name for (name,) in place.rows("SELECT name FROM two.names"))["p49"] == 1
