"""The server is killed again and again while a sink writes a topic: each row once, in order."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from penstock import contract as ps
from penstock.errors import Unavailable
from penstock.logs.postgresql import open_topic
from penstock.logs.topic_sink import TopicSink
from penstock.plan import Lane
from penstock.records import LaneKey, Limits
from penstock.services import postmaster
from penstock.services.postgresql import EmbeddedPostgresql
from penstock.testing.conformance.subjects import Person, people, rows, steps

KEY = LaneKey("shop", "log-1", "raw", "people@log")
ROWS = 25
BATCHES = 120


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgresql]:
    embedded = EmbeddedPostgresql(tmp_path / ".penstock")
    with embedded.session():
        yield embedded


@contextmanager
def killing(server: EmbeddedPostgresql) -> Iterator[list[int]]:
    """Kill the postmaster or one of its children, now and then while it starts or recovers."""
    pick, done, kills = random.Random(3), threading.Event(), []

    def kill() -> None:
        while not done.wait(0.05 + pick.random() / 5):
            if not postmaster.answers(server.cluster) and pick.random() < 0.9:
                continue
            found = postmaster.process(server.cluster)
            try:
                family = [found, found, *found.children()] if found else []
                if family:
                    victim = pick.choice(family)
                    victim.kill()
                    kills.append(victim.pid)
            except psutil.Error:
                continue

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        done.set()
        thread.join()


def write(sink: TopicSink, server: EmbeddedPostgresql) -> None:
    stands = None
    while stands is None or stands[0].next < ROWS * BATCHES:
        try:
            if stands is None:
                server.ensure()
                stands = sink.claim({0: 1})
                continue
            start = stands[0].next
            frame = people(*((n, f"{n}@example.com", n) for n in range(start, start + ROWS)))
            receipt = sink.stage(rows(frame, start=start))
            stands = sink.commit([receipt], steps(stands, {0: start + ROWS}))
        except Unavailable:
            sink.rollback()
            stands = None


def test_each_row_is_written_once(server: EmbeddedPostgresql) -> None:
    spec = ps.spec(Person)
    lane = Lane("people@log", "log", "people", "topic", spec, ("id",), 1, None, "shop.py", 7)
    sink = TopicSink(server.url, lane, KEY)
    sink.open()
    with killing(server) as kills:
        write(sink, server)
    server.ensure()
    log = open_topic(server.url, "people")
    found = log.read({0: 0}, Limits(1_000_000, 1 << 30)).records
    assert [int(key) for key in found["key"]] == list(range(ROWS * BATCHES))
    assert sink.claim({0: 2})[0].totals.written == ROWS * BATCHES
    assert len(kills) >= 3
    sink.close()
    log.close()
