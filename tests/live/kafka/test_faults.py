"""Brokers that die, hang and come back: said in a bounded time, and nothing lost or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import pytest
from tests.live.kafka.producing import Owner
from tests.stack.servers import Server, Servers

from penstock.errors import Unavailable
from penstock.logs.kafka import KafkaLog, client, open_topic
from penstock.records import Limits

T = TypeVar("T")
FEW = Limits(records=500, bytes=1 << 20)
COUNT = 50_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Servers(tmp_path_factory.mktemp("faults")) as servers:
        yield servers.start("kafka")


@pytest.fixture
def owner(broker: Server, request: pytest.FixtureRequest) -> Owner:
    made = Owner(broker.url, request.node.name)
    made.make(2)
    for partition in range(2):
        made.produce([f"{partition}/{n}".encode() for n in range(COUNT // 2)], partition)
    return made


@pytest.fixture
def log(broker: Server, owner: Owner) -> Iterator[KafkaLog]:
    opened = open_topic(broker.url, owner.name, pipeline="shop")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 2.0)


def patiently(work: Callable[[], T]) -> T:
    """What the engine does: wait, and try again with the same object."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return work()
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def rest(log: KafkaLog, at: Mapping[int, int]) -> dict[int, list[bytes]]:
    """Read on from `at` to the end of what was written."""
    found: dict[int, list[bytes]] = {p: [] for p in at}
    places = dict(at)
    while any(place < COUNT // 2 for place in places.values()):
        batch = patiently(lambda: log.read(places, FEW))
        for partition, span in batch.spans.items():
            assert span.start == places[partition]
            places[partition] = span.end
        for partition, value in batch.records.select("partition", "value").rows():
            found[partition].append(value)
    return found


def expected(at: Mapping[int, int]) -> dict[int, list[bytes]]:
    return {p: [f"{p}/{n}".encode() for n in range(start, COUNT // 2)] for p, start in at.items()}


def test_a_killed_broker_is_said_and_the_same_log_goes_on(
    broker: Server, owner: Owner, log: KafkaLog
) -> None:
    first = log.read({0: 0, 1: 0}, FEW)
    at = {0: 0, 1: 0} | {p: span.end for p, span in first.spans.items()}
    broker.kill()
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"refused|does not answer|Disconnected"):
        log.spans()
    with pytest.raises(Unavailable):
        while spans := log.read(at, FEW).spans:  # what was read ahead may still come
            at |= {p: span.end for p, span in spans.items()}
    assert time.monotonic() - started < 60
    broker.up()
    assert rest(log, at) == expected(at)


def test_a_broker_that_hangs_is_said_and_the_same_log_goes_on(
    broker: Server, owner: Owner, log: KafkaLog
) -> None:
    first = log.read({0: 0, 1: 0}, FEW)
    at = {0: 0, 1: 0} | {p: span.end for p, span in first.spans.items()}
    broker.stop()
    try:
        with pytest.raises(Unavailable):
            log.spans()
        with pytest.raises(Unavailable):
            open_topic(broker.url, owner.name)
    finally:
        broker.resume()
    assert rest(log, at) == expected(at)


def test_a_wait_outlives_a_broker(broker: Server, owner: Owner, log: KafkaLog) -> None:
    ends = {p: span.end for p, span in log.spans().items()}
    assert log.wait(ends, 0.1) is False
    broker.kill()
    assert log.wait(ends, 0.5) is False
    broker.up()
    owner.produce([b"new"])
    assert log.wait(ends, 90) is True
    assert log.read(ends, FEW).records["value"].to_list() == [b"new"]


def test_closing_needs_no_broker(broker: Server, owner: Owner) -> None:
    log = open_topic(broker.url, owner.name, pipeline="shop")
    log.read({0: 0, 1: 0}, FEW)
    broker.kill()
    log.mark("things@store", {0: 1})
    started = time.monotonic()
    log.close()
    took = time.monotonic() - started
    broker.up()
    assert took < 30


def test_nobody_at_the_address_is_said(broker: Server) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        open_topic("kafka://127.0.0.1:1", "things")
