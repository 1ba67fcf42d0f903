"""What is special to the topic sink of Kafka: transactions, their marks, and who may end them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

import polars as pl
import pytest
from confluent_kafka import Producer
from tests.live.kafka.producing import PATIENCE, Owner

from penstock import faults
from penstock.errors import Fenced, Rejected, Unavailable
from penstock.interfaces import Sink
from penstock.logs.kafka import client, open_topic, progress, topics
from penstock.logs.kafka.topic_sink import KafkaTopicSink
from penstock.logs.paging import pages
from penstock.records import Progress
from penstock.testing.conformance.subjects import KEY, Person, deleted, lane, people, rows, steps

THREE = people((1, "a@x", 10), (2, "b@x", None), (3, None, 30))
Make = Callable[[], KafkaTopicSink]


@pytest.fixture
def make(kafka: str, topic_name: str) -> Iterator[Make]:
    """Makes sinks of one lane, each as another process would."""
    wanted = replace(lane(Person, "topic"), table=topic_name)
    made: list[KafkaTopicSink] = []

    def another() -> KafkaTopicSink:
        made.append(KafkaTopicSink(kafka, wanted, replace(KEY, pipeline=topic_name)))
        made[-1].open()
        return made[-1]

    yield another
    faults.disarm()
    for sink in made:
        sink.close()


@pytest.fixture
def topic(kafka: str, topic_name: str) -> Owner:
    return Owner(kafka, topic_name)


def ids(sink: Sink) -> list[int]:
    return sorted(pl.concat(list(sink.positions()))["id"].to_list())


def write(sink: Sink, frame: pl.DataFrame, stands: Progress, partition: int = 0) -> Progress:
    staged = sink.stage(rows(frame, partition=partition, start=stands.next))
    moved = sink.commit([staged], steps({partition: stands}, {partition: stands.next + len(frame)}))
    return moved[partition]


def test_a_reader_finds_key_value_and_time_of_birth(make: Make, kafka: str) -> None:
    sink = make()
    gone = deleted(rows(THREE), 2).with_columns(
        _born=pl.lit(datetime(2026, 5, 6, tzinfo=UTC)).dt.cast_time_unit("us")
    )
    before = sink.claim({0: 1})
    moved = sink.commit([sink.stage(gone)], steps(before, {0: 3}))
    log = open_topic(kafka, sink._lane.table)
    found = pl.concat(pages(log)).sort("key")
    log.close()
    assert found["key"].to_list() == [b"1", b"2", b"3"]
    assert found["value"].is_null().to_list() == [False, True, False]
    assert found["born"].unique().to_list() == [datetime(2026, 5, 6, tzinfo=UTC)]
    assert found["headers"].null_count() == 3
    assert (moved[0].totals.written, moved[0].totals.deleted) == (2, 1)


def test_a_death_inside_the_transaction_leaves_nothing(make: Make) -> None:
    first = make()
    stands = write(first, THREE, first.claim({0: 1})[0])

    def die() -> NoReturn:
        raise KeyboardInterrupt

    faults.arm("copying", die)
    producer = first._producers[0]
    first._leave = lambda: None  # type: ignore[method-assign] # a dead process ends no transaction
    with pytest.raises(KeyboardInterrupt):
        write(first, people((4, "d@x", 4)), stands)
    faults.disarm()
    assert producer._producer.flush(PATIENCE) == 0
    successor = make()
    assert successor.claim({0: 2}) == {0: replace(stands, epoch=2)}
    assert ids(successor) == [1, 2, 3]


def test_what_was_committed_unheard_is_found(make: Make) -> None:
    first = make()
    stands = first.claim({0: 1})[0]
    first._await_visible = lambda *_: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        write(first, THREE, stands)
    assert make().claim({0: 1})[0].next == 3


def test_an_open_transaction_of_others_hides_no_progress(make: Make, kafka: str) -> None:
    """A commit behind an open transaction is not visible yet: a claim waits for its end."""
    first = make()
    stands = first.claim({0: 1})[0]
    name = progress.topic_of(first._key.pipeline)
    other = Producer({"bootstrap.servers": kafka[8:], "transactional.id": name, "log_level": 0})
    other.init_transactions(PATIENCE)
    other.begin_transaction()
    other.produce(name, b"{}", b"of another lane", partition=0)
    assert other.flush(PATIENCE) == 0
    write(first, THREE, stands)
    scan = progress.Scan(kafka, client.admin(kafka), first._key)
    with scan:
        assert scan.glance()[0].next == 0
        take, looks = scan._take, iter(range(20))

        def end_it_at_last() -> None:
            if next(looks, None) == 10:
                other.commit_transaction(PATIENCE)
            take()

        scan._take = end_it_at_last  # type: ignore[method-assign]
        assert scan.stands()[0].next == 3


def test_who_is_fenced_off_fences_nobody(make: Make) -> None:
    old, new = make(), make()
    old.claim({0: 1})
    stands = new.claim({0: 2})[0]
    with pytest.raises(Fenced):
        make().claim({0: 1})
    assert write(new, THREE, stands).next == 3
    with pytest.raises(Fenced):
        old.commit([], steps({0: Progress(0, 1)}, {0: 1}))


def test_without_fencing_a_predecessor_would_double_rows(make: Make) -> None:
    faults.disable("fencing")
    old, new = make(), make()
    stale, stands = old.claim({0: 1})[0], new.claim({0: 2})[0]
    write(new, THREE, stands)
    write(old, THREE, stale)
    assert ids(new) == [1, 1, 2, 2, 3, 3]


def test_partitions_that_arrived_stay_when_another_fails(make: Make) -> None:
    first = make()
    before = first.claim({0: 1, 1: 1})
    make().claim({1: 2})
    both = pl.concat([rows(THREE[:2]), rows(people((9, None, 1)), partition=1)])
    with pytest.raises(Fenced):
        first.commit([first.stage(both)], steps(before, {0: 2, 1: 1}))
    found = make()
    stands = found.claim({0: 3, 1: 3})
    assert (stands[0].next, stands[1].next) in {(2, 0), (0, 0)}
    assert ids(found) == ([1, 2] if stands[0].next else [])


def test_a_record_that_is_too_large_is_found(make: Make) -> None:
    sink = make()
    before = sink.claim({0: 1})
    large = people((1, "a@x", 1), (2, "x" * 1_100_000, 2), (3, "y" * 900_000, 3))
    with pytest.raises(Rejected):
        sink.stage(rows(large))
    [(row, error)] = sink.isolate(rows(large))
    assert row == 1
    assert error.code == "MSG_SIZE_TOO_LARGE"
    assert "max.message.bytes" in str(error)
    left = rows(large).filter(pl.col("id") != 2)
    sink.commit([sink.stage(left)], steps(before, {0: 3}))
    assert ids(sink) == [1, 3]


def test_a_limit_that_was_lowered_is_read_again(make: Make, topic: Owner) -> None:
    sink = make()
    stands = sink.claim({0: 1})[0]
    admin = client.admin("kafka://" + topic._settings["bootstrap.servers"])
    limited = topics.Wanted(topic.name, 2, config={"max.message.bytes": "20000"})
    topics.make(admin, limited, None)
    noise = random.Random(1).randbytes(30_000).hex()  # that cannot be packed
    with pytest.raises(Unavailable):
        write(sink, people((1, noise, 1)), stands)
    again = make()
    again.claim({0: 1})
    assert [row for row, _ in again.isolate(rows(people((1, noise, 1), (2, "b@x", 2))))] == [0]


def test_the_topic_of_progress_is_kept_small(make: Make, kafka: str) -> None:
    sink = make()
    name = progress.topic_of(sink._key.pipeline)
    drifted = topics.drift(client.admin(kafka), progress.wanted(sink._key.pipeline))
    assert drifted == {}
    foul = topics.Wanted(name, 1, config={"cleanup.policy": "delete"})
    topics.make(client.admin(kafka), foul, None)
    assert any("cleanup.policy=compact" in words for words in sink.preview())
    make()
    assert sink.preview() == []


def test_what_is_stored_can_be_read_by_people(make: Make, kafka: str) -> None:
    sink = make()
    write(sink, THREE, sink.claim({0: 1})[0])
    log = open_topic(kafka, progress.topic_of(sink._key.pipeline))
    last = pl.concat(pages(log)).row(-1, named=True)
    log.close()
    key = sink._key
    assert json.loads(last["key"]) == [key.pipeline, key.log_id, key.segment, key.lane, 0]
    assert json.loads(last["value"])["totals"]["written"] == 3


def test_rows_without_a_key_go_in_turn(kafka: str, topic_name: str) -> None:
    keyless = replace(lane(Person, "topic"), table=topic_name, key=())
    sink = KafkaTopicSink(kafka, keyless, replace(KEY, pipeline=topic_name))
    sink.open()
    many = people(*((i, None, i) for i in range(10)))
    sink.commit([sink.stage(rows(many))], steps(sink.claim({0: 1}), {0: 10}))
    found = pl.concat(list(sink.positions()))
    sink.close()
    assert sorted(found["_partition"].to_list()) == [0] * 5 + [1] * 5
