from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl
import psycopg
import pytest

from penstock import contract as ps
from penstock import faults
from penstock.errors import Fenced, Refused, Unavailable
from penstock.logs.postgresql import open_topic
from penstock.logs.topic_sink import TopicSink
from penstock.plan import Lane
from penstock.records import Counts, LaneKey, Limits, Receipt
from penstock.testing.conformance.subjects import Person, deleted, people, rows, steps

KEY = LaneKey("shop", "log-1", "raw", "people@log")
MANY = Limits(records=100_000, bytes=1 << 30)

Opener = Callable[..., TopicSink]


def lane(*key: str, partitions: int = 1) -> Lane:
    spec = ps.spec(Person)
    return Lane("people@log", "log", "people", "topic", spec, key, partitions, None, "shop.py", 7)


@pytest.fixture
def opened(database: str) -> Iterator[Opener]:
    sinks = []

    def opener(*key: str, partitions: int = 1) -> TopicSink:
        sink = TopicSink(database, lane(*key, partitions=partitions), KEY)
        sink.open()
        sinks.append(sink)
        return sink

    yield opener
    faults.disarm()
    for sink in sinks:
        sink.close()


def records(url: str) -> pl.DataFrame:
    log = open_topic(url, "people")
    try:
        return log.read(dict.fromkeys(log.spans(), 0), MANY).records
    finally:
        log.close()


def write(sink: TopicSink, frame: pl.DataFrame, epochs: Mapping[int, int], to: int) -> None:
    stands = sink.claim(epochs)
    receipt = sink.stage(frame)
    sink.commit([receipt], steps(stands, dict.fromkeys(epochs, to)))


PEOPLE = people((1, "a@b", 7), (2, None, None), (3, "ü", -1))


def test_rows_become_records(opened: Opener, database: str) -> None:
    write(opened("id"), deleted(rows(PEOPLE), 2), {0: 1}, 3)
    found = records(database)
    assert found["key"].to_list() == [b"1", b"2", b"3"]
    assert found["value"][1] is None
    assert ps.decode(ps.spec(Person), found["value"].drop_nulls()).failures == []
    assert found["born"].to_list() == rows(PEOPLE)["_born"].to_list()


def test_progress_and_counts_are_stored(opened: Opener) -> None:
    sink = opened("id")
    write(sink, deleted(rows(PEOPLE), 2), {0: 4}, 5)
    stands = sink.progress()[0]
    assert (stands.next, stands.epoch) == (5, 4)
    assert stands.totals == Counts(records=5, written=2, deleted=1)


def test_a_commit_without_rows_moves_the_progress(opened: Opener, database: str) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1})
    sink.commit([], steps(stands, {0: 9}))
    assert sink.progress()[0].next == 9
    assert records(database).is_empty()


@pytest.mark.parametrize("successor", [1, 2])
def test_a_successor_fences(opened: Opener, database: str, successor: int) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1})
    receipt = sink.stage(rows(PEOPLE))
    other = opened("id")
    if successor == 1:
        write(other, rows(PEOPLE), {0: 1}, 3)
    else:
        other.claim({0: successor})
    before = records(database)
    with pytest.raises(Fenced, match="another process has taken over lane 'people@log'"):
        sink.commit([receipt], steps(stands, {0: 3}))
    assert records(database).equals(before)


def test_a_wrong_receipt_is_refused(opened: Opener, database: str) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1})
    sink.stage(rows(PEOPLE))
    with pytest.raises(Refused, match="receipts count"):
        sink.commit([Receipt({0: 2})], steps(stands, {0: 3}))
    assert records(database).is_empty()
    faults.disable("staged-count")
    sink.stage(rows(PEOPLE))
    sink.commit([Receipt({0: 2})], steps(stands, {0: 3}))
    assert records(database).height == 3


def test_rollback_forgets_what_is_staged(opened: Opener, database: str) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1})
    sink.stage(rows(PEOPLE))
    sink.rollback()
    receipt = sink.stage(rows(PEOPLE.head(1)))
    sink.commit([receipt], steps(stands, {0: 3}))
    assert records(database).height == 1


def test_keys_go_to_kafkas_partitions(opened: Opener, database: str) -> None:
    many = people(*((n, "x", n) for n in range(200)))
    write(opened("id", partitions=4), rows(many), {0: 1}, 200)
    found = records(database)
    places = dict(found.select("key", "partition").iter_rows())
    assert [places[key] for key in (b"0", b"1", b"2", b"3")] == [0, 3, 0, 3]
    assert found.height == 200


def test_without_a_key_partitions_take_turns(opened: Opener, database: str) -> None:
    many = people(*((n, "x", n) for n in range(100)))
    write(opened(partitions=4), rows(many), {0: 1}, 100)
    found = records(database)
    assert found["key"].null_count() == 100
    assert found["partition"].value_counts()["count"].to_list() == [25] * 4


def test_rows_of_several_source_partitions(opened: Opener, database: str) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1, 1: 1})
    receipts = [
        sink.stage(rows(PEOPLE.head(1), partition=0)),
        sink.stage(rows(PEOPLE.tail(2), partition=1)),
    ]
    stored = sink.commit(receipts, steps(stands, {0: 1, 1: 2}))
    assert [stored[p].totals.written for p in (0, 1)] == [1, 2]
    assert records(database)["key"].to_list() == [b"1", b"2", b"3"]


def test_preview_says_what_open_would_do(database: str) -> None:
    sink = TopicSink(database, lane(partitions=2), KEY)
    assert sink.preview() == ["create topic 'people' with 2 partitions"]
    assert sink.progress() == {}
    sink.open()
    assert sink.preview() == []
    more = TopicSink(database, lane(partitions=5), KEY)
    assert more.preview() == ["add 3 partitions to topic 'people', which has 2"]
    sink.close()
    more.close()


def test_positions_reads_the_topic_back(opened: Opener) -> None:
    sink = opened("id")
    write(sink, deleted(rows(PEOPLE), 2), {0: 1}, 3)
    (frame,) = sink.positions()
    assert frame["_offset"].to_list() == [0, 2]
    assert frame["id"].to_list() == [1, 3]
    assert frame["email"].to_list() == ["a@b", "ü"]


def test_a_lost_connection_is_unavailable_and_claim_tells(opened: Opener, database: str) -> None:
    sink = opened("id")
    stands = sink.claim({0: 1})
    receipt = sink.stage(rows(PEOPLE))
    with psycopg.connect(database, autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'penstock:%' AND datname = current_database()"
        )
    with pytest.raises(Unavailable):
        sink.commit([receipt], steps(stands, {0: 3}))
    sink.rollback()
    assert sink.claim({0: 1})[0].next == 0
    write(sink, rows(PEOPLE), {0: 1}, 3)
    assert records(database).height == 3
