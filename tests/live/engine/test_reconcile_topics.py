"""`reconcile --deep` compares topics record by record, and finds what is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import polars as pl
import pytest
from tests.live.engine.conftest import Given, Place, start
from tests.live.kafka.producing import Owner

import penstock as ps
from penstock.engines.reconciling.reconcile import Report
from penstock.errors import Refused
from penstock.home import deadletters, replays
from penstock.home.database import Home
from penstock.logs import batch
from penstock.logs.postgresql import open_topic

Damage = Callable[[pl.DataFrame], pl.DataFrame]

SEVENTH = pl.col("key") == b"p7"
OTHER = b'{"name":"p7","age":70}'


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


def program(
    place: Place,
    people: int = 60,
    start: int = 0,
    to_user: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    partitions: int = 2,
) -> ps.Pipeline:
    pipeline = ps.Pipeline(f"{place.prefix}people")
    records = [{"name": f"p{n}", "age": n} for n in range(start + people)]
    source = Given.records(*records)
    users = pipeline.source(source, Person, land="raw").map(to_user, User)
    users.topic(f"{place.prefix}users", partitions=partitions)
    return pipeline


def damage(monkeypatch: pytest.MonkeyPatch, place: Place, how: Damage) -> None:
    """Do something to the records of `p7` on their way to the topic, behind all counting."""
    if not place.log:
        monkeypatch.setattr(batch, "arguments", _after(how, batch.arguments))
        return
    from penstock.logs.kafka import topic_sink

    monkeypatch.setattr(topic_sink, "_columns", _after(how, topic_sink._columns))


def _after(how: Damage, then: Callable[..., Any]) -> Callable[..., Any]:
    return lambda records, *more: then(how(records), *more)


def lose(records: pl.DataFrame) -> pl.DataFrame:
    return records.filter(~SEVENTH)


def double(records: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([records, records.filter(SEVENTH)]).sort("partition", maintain_order=True)


def change(records: pl.DataFrame) -> pl.DataFrame:
    value = pl.when(SEVENTH).then(pl.lit(OTHER)).otherwise("value")
    return records.with_columns(value=value)


def forge(place: Place, values: list[bytes]) -> None:
    """Write to the topic as somebody else."""
    name = f"{place.prefix}users"
    if place.log:
        Owner(place.log, name).produce(list(values), key=b"forged")
        return
    with closing(open_topic(place.url, name)) as topic:
        topic.append(pl.DataFrame({"key": [b"forged"] * len(values), "value": values}))


def trim(place: Place, before: int) -> None:
    """Remove the first records of partition 0, as retention does."""
    if place.log:
        Owner(place.log, f"{place.prefix}users").trim(0, before)
        return
    place.rows(
        "UPDATE penstock.log_heads SET start = %s WHERE partition = 0 AND id = "
        "(SELECT id FROM penstock.logs WHERE name = 'users')",
        before,
    )


def rows(report: Report) -> int | None:
    [lane] = report.lanes
    return lane.rows


def test_every_record_is_compared(place: Place) -> None:
    pipeline = program(place)
    place.run(pipeline)
    report = place.reconcile(pipeline)
    assert report.differences == report.notes == ()
    assert rows(report) == 60


@pytest.mark.parametrize(
    ("how", "found"),
    [
        (lose, ["lacks the record of position (0, 0, 7) with key 'p7'"]),
        (double, ["with key 'p7' once more than the log gives it"]),
        (
            change,
            [
                "lacks the record of position (0, 0, 7) with key 'p7', or has another value",
                "a record with key 'p7' that the log does not give",
            ],
        ),
    ],
)
def test_damage_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch, how: Damage, found: list[str]
) -> None:
    pipeline = program(place)
    with monkeypatch.context() as patch:
        damage(patch, place, how)
        place.run(pipeline)
    differences = [words for words in place.reconcile(pipeline).differences if "p7" in words]
    assert len(differences) == len(found)
    for words, difference in zip(found, differences, strict=True):
        assert words in difference


@pytest.mark.parametrize("value", [b'{"name":"forged","age":1}', b"no json at all"])
def test_what_somebody_else_wrote_is_named(place: Place, value: bytes) -> None:
    pipeline = program(place)
    place.run(pipeline)
    forge(place, [value])
    differences = place.reconcile(pipeline).differences
    assert any("key 'forged' that the log does not give" in words for words in differences)


def test_only_the_rest_is_compared_after_retention(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = program(place, partitions=1)
    place.run(pipeline)
    trim(place, 20)
    report = place.reconcile(pipeline)
    assert report.differences == ()
    assert "no longer holds 20 of the records" in report.notes[0]
    assert rows(report) == 40


def test_a_loss_behind_what_retention_took_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = program(place, partitions=1)
    with monkeypatch.context() as patch:
        damage(patch, place, lose)
        place.run(pipeline)
    trim(place, 5)
    differences = place.reconcile(pipeline).differences
    assert any("lacks the record of position (0, 0, 7)" in words for words in differences)


def test_replayed_dead_letters_are_in_the_topic_once(place: Place) -> None:
    def picky(rows: pl.DataFrame) -> pl.DataFrame:
        if (rows["age"] == 7).any():
            raise ValueError("no seven")
        return rows

    place.run(program(place, to_user=picky))
    mended = program(place)
    assert place.reconcile(program(place, to_user=picky)).differences == ()
    with Home(place.url, name="test") as home, home.transaction() as cursor:
        chosen = deadletters.Selection(mended.name)
        assert replays.replay(cursor, chosen, by="test").letters == 1
    place.run(mended)
    report = place.reconcile(mended)
    assert report.differences == ()
    assert rows(report) == 60


def copies(place: Place) -> ps.Pipeline:
    """A pipeline that copies a topic of others into one of its own."""
    pipeline = ps.Pipeline(f"{place.prefix}copies")
    given = pipeline.topic(f"{place.prefix}given", User, key="name")
    given.map(lambda rows: rows, User).topic(f"{place.prefix}users", partitions=2)
    return pipeline


def give(place: Place, name: str, *values: bytes | None) -> None:
    """Make the topic that is copied, and write to it."""
    if place.log:
        owner = Owner(place.log, f"{place.prefix}given")
        owner.make()
        owner.produce(list(values), key=name.encode())
        return
    with closing(open_topic(place.url, "given", 1)) as topic:
        records = {"key": [name.encode()] * len(values), "value": values}
        topic.append(pl.DataFrame(records, schema={"key": pl.Binary, "value": pl.Binary}))


def test_deletes_are_records_too(place: Place) -> None:
    pipeline = copies(place)
    give(place, "a", b'{"name":"a","age":1}', None)
    place.run(pipeline)
    report = place.reconcile(pipeline)
    assert report.differences == ()
    assert rows(report) == 2
    forge(place, [b'{"name":"forged","age":1}'])
    assert not place.reconcile(pipeline).balanced


def test_what_came_from_a_log_before_is_no_difference(place: Place) -> None:
    pipeline = copies(place)
    give(place, "a", b'{"name":"a","age":1}')
    place.run(pipeline)
    if place.log:
        Owner(place.log, f"{place.prefix}given").delete()
    else:
        place.rows("DROP TABLE topics.given CASCADE")
    give(place, "b", b'{"name":"b","age":2}')
    place.run(pipeline, accept_log=True)
    report = place.reconcile(pipeline)
    assert report.differences == ()
    assert "checked by count only" in " ".join(report.notes)
    assert rows(report) == 2


def test_a_topic_is_compared_while_it_is_written(place: Place) -> None:
    pipeline = ps.Pipeline(f"{place.prefix}people")
    source = ps.Generator(User, rows=4_000, rate=1_000)
    pipeline.source(source, User, land="raw").topic(f"{place.prefix}users", partitions=2)
    running = start(place.engine(pipeline, until_idle=True))
    compared = set()
    try:
        while running.thread.is_alive():
            with suppress(Refused):  # there is no topic yet
                report = place.reconcile(pipeline)
                assert report.differences == ()
                compared.add(rows(report))
    finally:
        running.stop()
    assert len(compared) > 1
    assert rows(place.reconcile(pipeline)) == 4_000


def test_what_compaction_took_is_no_difference(
    kafka: str, topic_name: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(database, log=kafka, prefix=f"{topic_name}_")
    Owner(kafka, f"{topic_name}_users").make(2, {"cleanup.policy": "compact"})
    pipeline = program(place)
    with monkeypatch.context() as patch:
        damage(patch, place, lose)
        place.run(pipeline)
    notes = place.reconcile(pipeline).notes
    assert any("compaction" in note for note in notes)
