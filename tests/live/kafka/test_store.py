"""Kafka as a store: tables of a program that are topics of any cluster."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import polars as pl
import pytest
from tests.live.kafka.producing import Owner
from tests.live.project import Project

from penstock.errors import Rejected
from penstock.logs.kafka import client, open_topic, topics
from penstock.logs.kafka.headers import marks
from penstock.logs.kafka.store_sink import KafkaStoreSink
from penstock.logs.paging import pages
from penstock.logs.postgresql import open_topic as open_table
from penstock.plan import REPLAY
from penstock.profile import Store
from penstock.records import Progress
from penstock.testing.conformance.subjects import KEY, Person, deleted, lane, people, rows, steps

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int
    note: str | None

pipeline = ps.Pipeline("people")
source = ps.Generator(User, rows=3000, rate=400)
users = pipeline.source(source, User, land="raw").topic("users", partitions=2)
users.sink("latest", store="events")
users.sink("all", store="events", mode="append")
"""

GIVEN = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    note: str

users = ps.Pipeline("people").topic("given", User)
users.sink("latest", store="events")
users.sink("all", store="events", mode="append")
pipeline = users.pipeline
"""


@pytest.fixture
def prefix(topic_name: str) -> str:
    return f"{topic_name}."


@pytest.fixture
def events(project: Project, kafka: str, topic_name: str, prefix: str) -> Callable[[str], Owner]:
    """A store in Kafka beside a log in PostgreSQL; gives topics of it by their tables."""
    project.prefix = f"{topic_name}_"
    project.more = f"""
[profiles.test.stores.events]
url = {kafka!r}
prefix = {prefix!r}
[profiles.test.stores.events.tables.all]
partitions = 3
config = {{"max.message.bytes" = 20000}}
"""
    project.settle()
    return lambda table: Owner(kafka, prefix + table)


def documents(owner: Owner) -> list[dict[str, object]]:
    return [json.loads(value) for value in owner.values() if value]


def test_kills_double_nothing_and_lose_nothing(
    project: Project, events: Callable[[str], Owner], kafka: str
) -> None:
    project.write(PROGRAM)
    for point in ("copying:KILL:3", "committed:KILL:2", "staged:KILL:2", "between-sinks:KILL:1"):
        project.environment["PENSTOCK_FAULT"] = point
        process = project.start("run", "program.py", "--until-idle")
        process.communicate(timeout=180)
        assert process.returncode == -signal.SIGKILL
    del project.environment["PENSTOCK_FAULT"]
    project.run()
    project.balance()
    assert len(documents(events("all"))) == project.counts("all@events")["written"] == 3000
    log = open_topic(kafka, events("all").name)
    found = pl.concat(pages(log)).with_columns(pl.col("partition").alias("in_partition"))
    log.close()
    places = marks(found).select("_partition", "_offset", "_index")
    assert places.null_count().sum_horizontal()[0] == 0
    assert places.n_unique() == 3000
    assert found["in_partition"].n_unique() == 3
    assert {row["id"] for row in documents(events("latest"))} == {
        row["id"] for row in documents(events("all"))
    }


def test_check_says_what_a_start_would_make(
    project: Project, events: Callable[[str], Owner]
) -> None:
    project.write(PROGRAM)
    said = [f["message"] for f in project.json("check", "program.py")["findings"]]
    assert f"create topic {events('all').name!r} with 3 partitions" in said
    assert f"create topic {events('latest').name!r} with 1 partition" in said
    project.run()
    assert not [f for f in project.json("check", "program.py")["findings"] if f["state"] != "good"]
    project.more = project.more.replace("partitions = 3", 'partitions = 3\ncolour = "red"')
    project.settle()
    findings = project.json("check", "program.py", code=1)["findings"]
    refused = [f["message"] for f in findings if f["state"] == "refused"]
    assert any("no setting 'colour'" in words for words in refused)


def test_a_record_that_is_too_large_is_a_dead_letter(
    project: Project, events: Callable[[str], Owner]
) -> None:
    project.produce("given", [json.dumps({"id": n, "note": n * 9000}).encode() for n in "abc"])
    large = json.dumps({"id": "d", "note": "x" * 30_000}).encode()
    with closing(open_table(project.url, "given", 1)) as log:
        log.append(pl.DataFrame({"key": [b"d"], "value": [large]}))
    project.write(GIVEN.replace('.topic("given"', ".topic('given'"))
    project.run()
    project.balance()
    assert project.counts("all@events")["dead"] == 1
    assert project.counts("latest@events")["written"] == 4
    [letter] = project.letters()
    assert letter["offset"] == 3
    assert "max.message.bytes" in json.dumps(letter)


def test_a_topic_that_was_deleted_is_said(project: Project, events: Callable[[str], Owner]) -> None:
    project.write(PROGRAM)
    project.run()
    events("all").delete()
    assert "was deleted and made anew" in project.run(code=1)
    project.run("--accept-log")
    assert events("all").values() == []


# --- the sink alone ---

Make = Callable[..., KafkaStoreSink]


@pytest.fixture
def make(kafka: str, topic_name: str) -> Iterator[Make]:
    """Makes sinks of one lane, each as another process would."""
    made: list[KafkaStoreSink] = []

    def another(mode: str = "upsert", **settings: object) -> KafkaStoreSink:
        store = Store("events", kafka, {"people": settings}, prefix=topic_name)
        wanted = lane(Person, mode)
        made.append(KafkaStoreSink(store, wanted, replace(KEY, pipeline=topic_name)))
        made[-1].open()
        return made[-1]

    yield another
    for sink in made:
        sink.close()


def records(sink: KafkaStoreSink) -> pl.DataFrame:
    log = open_topic(sink._url, sink._lane.table)
    found = pl.concat(pages(log)).sort("partition", "offset")
    log.close()
    return found


def replay(sink: KafkaStoreSink, frame: pl.DataFrame, stands: Progress) -> Progress:
    step = steps({REPLAY: stands}, {REPLAY: stands.next + frame.height})
    return sink.commit([sink.stage(frame)], step)[REPLAY]


def test_a_delete_is_a_record_without_a_value(make: Make) -> None:
    sink = make()
    before = sink.claim({0: 1})
    three = people((1, "a@x", 10), (2, "b@x", None), (3, None, 30))
    stands = sink.commit([sink.stage(rows(three))], steps(before, {0: 3}))
    gone = deleted(rows(people((2, None, None)), start=3), 2)
    sink.commit([sink.stage(gone)], steps(stands, {0: 4}))
    found = records(sink)
    assert found.filter(pl.col("key") == b"2")["value"].is_null().to_list() == [False, True]
    assert marks(found)["_order"].to_list() == [1_000_000 + n for n in range(4)]
    assert sorted(pl.concat(list(sink.positions()))["id"]) == [1, 3]


def test_a_replay_never_puts_an_older_row_behind_a_newer_one(make: Make) -> None:
    sink = make()
    before = sink.claim({0: 1, REPLAY: 1})
    sink.commit([sink.stage(rows(people((1, "new@x", 2)), start=7))], steps({0: before[0]}, {0: 8}))
    late = pl.concat([rows(people((1, "old@x", 1)), start=3), rows(people((2, "b@x", 2)), start=4)])
    stands = replay(sink, late, before[REPLAY])
    assert (stands.totals.written, stands.totals.superseded) == (1, 1)
    assert records(sink)["key"].to_list() == [b"1", b"2"]
    newer = rows(people((1, "newest@x", 3)), start=9)
    assert replay(sink, newer, stands).totals.written == 2
    assert {row["email"] for row in next(sink.positions()).to_dicts()} == {"newest@x", "b@x"}


def test_settings_make_the_topic(make: Make, kafka: str) -> None:
    sink = make("append", partitions=3, key="id", retention="7d", config={"segment.jitter.ms": 5})
    admin = client.admin(kafka)
    wanted = {"retention.ms": "604800000", "segment.jitter.ms": "5"}
    assert topics.drift(admin, topics.Wanted(sink._lane.table, 3, config=wanted)) == {}
    again = make("append")  # takes the partitions that there are
    many = people(*((n, None, n) for n in range(30)))
    again.commit([again.stage(rows(many))], steps(again.claim({0: 1}), {0: 30}))
    assert records(again)["partition"].n_unique() == 3
    changed = make("upsert", compact=True, retention="1d", partitions=3)
    both = topics.Wanted(changed._lane.table, 3, config={"cleanup.policy": "compact,delete"})
    assert topics.drift(admin, both) == {}


def test_what_others_write_beside_is_not_ours(make: Make, kafka: str) -> None:
    sink = make("append")
    sink.commit([sink.stage(rows(people((1, "a@x", 1))))], steps(sink.claim({0: 1}), {0: 1}))
    owner = Owner(kafka, sink._lane.table)
    owner.produce([b"not even JSON", b'{"id": 9, "email": null, "age": 1}'])
    owner.transact([b"{}"], commit=False)
    assert pl.concat(list(sink.positions()))["id"].to_list() == [1]
    assert Counter(records(sink)["key"].is_null()) == {False: 1, True: 2}


def test_retention_is_told_as_what_may_be_gone(make: Make, kafka: str) -> None:
    sink = make("append")
    assert sink.forgotten() == ""
    sink.commit([sink.stage(rows(people((1, "a@x", 1))))], steps(sink.claim({0: 1}), {0: 1}))
    Owner(kafka, sink._lane.table).trim(0, 1)
    assert "retention" in sink.forgotten()
    compacted = make("append", compact=True)
    assert "compacted" in compacted.forgotten()


def test_a_record_too_large_is_rejected_alone(make: Make) -> None:
    sink = make(config={"max.message.bytes": "20000"})
    before = sink.claim({0: 1})
    large = rows(people((1, "a@x", 1), (2, "x" * 30_000, 2)))
    with pytest.raises(Rejected):
        sink.stage(large)
    assert [row for row, _ in sink.isolate(large)] == [1]
    left = large.filter(pl.col("id") == 1)
    assert sink.commit([sink.stage(left)], steps(before, {0: 2}))[0].totals.written == 1
