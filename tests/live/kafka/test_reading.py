"""Whatever other programs put into a topic is read, and every offset is accounted for."""

from __future__ import annotations

import json
import struct
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from tests.live.kafka.producing import Owner

from penstock.errors import LogChanged, Refused
from penstock.logs.kafka import KafkaLog, open_topic, stalls
from penstock.records import Limits, LogBatch, Span

ALL = Limits(records=100_000, bytes=1 << 30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def owner(kafka: str, topic_name: str) -> Owner:
    return Owner(kafka, topic_name)


@pytest.fixture
def log(kafka: str, owner: Owner) -> Iterator[KafkaLog]:
    owner.make()
    opened = open_topic(kafka, owner.name, pipeline="shop")
    yield opened
    opened.close()


def everything(log: KafkaLog, partition: int = 0) -> LogBatch:
    """Read a partition to its end, and check that no offset is left out between two reads."""
    known = log.spans()[partition]
    at, parts = known.start, [log.read({}, ALL).records]
    while at < known.end:
        batch = log.read({partition: at}, ALL)
        assert batch.spans[partition].start == at
        at = batch.spans[partition].end
        parts.append(batch.records)
    return LogBatch({partition: Span(known.start, at)}, pl.concat(parts))


def test_transactions_show_what_is_committed_and_pass_the_rest(owner: Owner, log: KafkaLog) -> None:
    owner.transact([b"a", b"b"], commit=True)
    owner.transact([b"never"] * 3, commit=False)
    owner.produce([b"c"])
    batch = everything(log)
    assert batch.records.select("offset", "value").rows() == [(0, b"a"), (1, b"b"), (7, b"c")]
    assert batch.spans == {0: Span(0, 8)}


def test_an_open_transaction_is_waited_for(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"])
    producer = owner.transaction()
    producer.produce(owner.name, b"b", partition=0)
    assert producer.flush(60) == 0
    owner.produce([b"c"])
    assert log.spans() == {0: Span(0, 1)}
    assert everything(log).records["value"].to_list() == [b"a"]
    assert log.wait({0: 1}, 0.3) is False
    producer.commit_transaction(60)
    assert log.wait({0: 1}, 60) is True
    batch = log.read({0: 1}, ALL)
    assert batch.records["value"].to_list() == [b"b", b"c"]


def test_a_transaction_that_stays_open_is_said_once(
    owner: Owner, log: KafkaLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stalls, "LONG", 0.0)
    owner.produce([b"a"])
    log.spans()
    log.spans()
    assert not caplog.records  # nothing is open
    producer = owner.transaction()
    producer.produce(owner.name, b"b", partition=0)
    assert producer.flush(60) == 0
    for _ in range(3):
        log.spans()
    assert caplog.text.count("began at offset 1 of partition 0 is open") == 1
    producer.abort_transaction(60)


def test_tombstones_null_keys_and_empty_ones_come_back(owner: Owner, log: KafkaLog) -> None:
    owner.produce([None], key=b"k")
    owner.produce([b""], key=b"")
    owner.produce([None])
    rows = everything(log).records.select("key", "value").rows()
    assert rows == [(b"k", None), (b"", b""), (None, None)]


def test_foreign_headers_come_back_with_any_bytes(owner: Owner, log: KafkaLog) -> None:
    headers: list[tuple[str, Any]] = [("a", b"\xff\0"), ("a", b""), ("é☃", None)]
    owner.produce([b"x"], headers=headers)
    owner.produce([b"y"])
    first, second = everything(log).records["headers"]
    pairs = [[n, None if v is None else b64encode(v).decode()] for n, v in headers]
    assert json.loads(first) == pairs
    assert second is None


def test_born_is_the_header_or_else_the_records_time(owner: Owner, log: KafkaLog) -> None:
    born = 1_700_000_000_123_456
    ours = ("penstock-born", struct.pack(">q", born))
    now = int(time.time() * 1000)
    owner.produce([b"a"], headers=[ours], timestamp=now)
    owner.produce([b"b"], headers=[("x", b"1"), ours], timestamp=now)
    owner.produce([b"c"], headers=[("penstock-born", b"short")], timestamp=now)
    owner.produce([b"d"], timestamp=now)
    owner.produce([b"e"], headers=[("penstock-born", b"\x7f" + b"\xff" * 7)], timestamp=now)
    records = everything(log).records
    times = records["born"].to_list()
    assert times[:2] == [EPOCH + timedelta(microseconds=born)] * 2
    assert times[2:4] == [EPOCH + timedelta(milliseconds=now)] * 2
    assert times[4].year == 9999
    kept = [h and [name for name, _ in json.loads(h)] for h in records["headers"]]
    assert kept == [None, ["x"], ["penstock-born"], None, None]


def test_a_compacted_topic_is_read_with_its_gaps(kafka: str, owner: Owner) -> None:
    owner.make(config=COMPACT)
    for number in range(40):
        owner.produce([str(number).encode()], key=b"same")
    owner.produce([b"last"], key=b"other")
    log = open_topic(kafka, owner.name)
    deadline = time.monotonic() + 90
    while (batch := everything(log)).records.height > 20:  # the cleaner comes by in its own time
        assert time.monotonic() < deadline
        owner.produce([b"more"], key=b"other")
        time.sleep(0.5)
    end = batch.spans[0].end
    assert batch.spans[0] == Span(0, end)
    reread = log.reread({0: Span(3, end)})
    assert reread.spans == {0: Span(3, end)}
    assert reread.records.equals(batch.records.filter(pl.col("offset") >= 3))
    log.close()


COMPACT = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "max.compaction.lag.ms": "100",
}


def test_a_huge_record_is_read(kafka: str, owner: Owner) -> None:
    owner.make(config={"max.message.bytes": str(40 << 20)})
    producer = owner.producer(**{"message.max.bytes": 40 << 20})
    for size in (10, 30 << 20, 20):
        producer.produce(owner.name, b"x" * size, partition=0)
        assert producer.flush(60) == 0
    log = open_topic(kafka, owner.name)
    small = Limits(records=1000, bytes=1 << 20)
    sizes, at = [], 0
    while at < 3:
        batch = log.read({0: at}, small)
        sizes.append(batch.records["value"].bin.size().to_list())
        at = batch.spans[0].end
    assert sizes == [[10], [30 << 20], [20]]
    log.close()


def test_reads_go_back_and_forth(owner: Owner, log: KafkaLog) -> None:
    owner.produce([str(number).encode() for number in range(20_000)])
    few = Limits(records=10, bytes=1 << 20)
    for start in (0, 15_000, 3, 19_990, 13, 13, 23, 0):
        batch = log.read({0: start}, few)
        assert batch.spans == {0: Span(start, start + 10)}
        assert batch.records["value"].to_list() == [str(start + n).encode() for n in range(10)]
        again = log.reread({0: Span(start, start + 5)})
        assert again.records.equals(batch.records.head(5))


def test_added_partitions_are_seen_and_read(kafka: str, owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"])
    assert everything(log).records.height == 1
    owner.grow(3)
    assert log.spans().keys() == {0, 1, 2}
    owner.produce([b"b"], partition=2)
    assert log.wait({0: 1, 1: 0, 2: 0}, 60) is True
    batch = log.read({0: 1, 1: 0, 2: 0}, ALL)
    assert batch.records.select("partition", "value").rows() == [(2, b"b")]


def test_records_removed_before_they_were_read_are_missed(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"] * 10)
    assert log.read({0: 0}, Limits(2, 1 << 20)).records.height == 2
    assert log.wait({0: 10}, 0) is False  # stands elsewhere now
    owner.trim(0, 5)
    with pytest.raises(LogChanged, match=r"from offset 5 on.*next one to read is 2.*retention"):
        log.read({0: 2}, ALL)


def test_retention_that_overtakes_a_waiting_reader_is_said(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"] * 3)
    everything(log)
    producer = owner.transaction()  # hides what follows, so that nothing is read ahead
    producer.produce(owner.name, b"b", partition=0)
    assert producer.flush(60) == 0
    owner.produce([b"c"] * 10)
    producer.abort_transaction(60)
    assert log.wait({0: 3}, 60)
    owner.trim(0, -1)
    assert log.spans()[0].start > 3
    with pytest.raises(LogChanged, match="retention"):
        log.reread({0: Span(3, 5)})


def test_a_topic_made_anew_is_never_taken_for_the_old_one(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"old"] * 10)
    assert everything(log).records.height == 10
    owner.delete()
    owner.make()
    owner.produce([b"new"] * 30)
    with pytest.raises(LogChanged, match="made anew"):
        while log.wait({0: 10}, 60):
            assert not log.read({0: 10}, ALL).records.height


def test_a_deleted_topic_is_noticed(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"old"])
    everything(log)
    owner.delete()
    with pytest.raises(LogChanged, match="deleted"):
        log.spans()


def test_a_topic_of_others_is_never_made(kafka: str, topic_name: str) -> None:
    with pytest.raises(Refused, match=f"no topic '{topic_name}'.*owner"):
        open_topic(kafka, topic_name)


def test_a_wake_before_the_wait_counts(log: KafkaLog) -> None:
    log.wake()
    started = time.monotonic()
    assert log.wait({0: 0}, 60) is False
    assert time.monotonic() - started < 30


def test_a_record_ends_a_wait_without_delay(owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"])
    everything(log)
    delays = []
    for start in range(1, 21):
        sent: list[float] = []

        def send(sent: list[float] = sent) -> None:
            owner.produce([b"b"])
            sent.append(time.monotonic())

        timer = threading.Timer(0.02, send)
        timer.start()
        assert log.wait({0: start}, 60)
        delays.append(time.monotonic())
        timer.join()
        delays[-1] -= sent[0]
        assert log.read({0: start}, ALL).records.height == 1
    assert sorted(delays)[10] < 0.25  # the median: a slow machine may be late now and then


def test_lanes_are_marked_for_kafkas_tools(kafka: str, owner: Owner, log: KafkaLog) -> None:
    owner.produce([b"a"] * 3)
    log.mark("things@store", {0: 1})
    log.mark("things@store", {0: 2})
    log.close()
    assert owner.committed("penstock.shop.things@store") == {0: 2}
