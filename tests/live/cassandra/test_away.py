"""A cluster that is away, silent or gone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.writing import read, write
from tests.stack.proxy import Proxy

from penstock.errors import Unavailable
from penstock.sinks.cassandra import sender, session
from penstock.testing.conformance.sink_store import THREE
from penstock.testing.conformance.subjects import rows, steps

BOUND = 45
"""Seconds after which a sink must have given up, on a slow machine."""


@pytest.fixture
def proxy(cassandra: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(session, "TIMEOUT", 2.0)
    monkeypatch.setattr(session, "CONNECT_TIMEOUT", 2.0)
    with Proxy(cassandra) as made:
        yield made


@pytest.fixture
def way(proxy: Proxy, keyspace: str) -> str:
    return f"cassandra://127.0.0.1:{proxy.port}/{keyspace}?replication=1"


@pytest.mark.parametrize("how", ["refuse", "silence"])
def test_nothing_hangs_while_the_cluster_is_away(
    make_sink: MakeSink, proxy: Proxy, way: str, how: str
) -> None:
    sink = make_sink(url=way)
    sink.open()
    before = sink.claim({0: 1})
    receipt = sink.stage(rows(THREE))
    getattr(proxy, how)()
    for call in (
        lambda: sink.commit([receipt], steps(before, {0: 3})),
        lambda: sink.claim({0: 1}),
        lambda: list(sink.positions()),
        sink.progress,
        make_sink(url=way).open,
    ):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            call()
        assert time.monotonic() - began < BOUND
    proxy.resume()
    proxy.cut()
    write(sink, rows(THREE))
    assert read(sink).height == 3


def test_a_short_absence_is_bridged(
    make_sink: MakeSink, proxy: Proxy, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PATIENCE", BOUND)
    sink = make_sink(url=way)
    sink.open()
    before = sink.claim({0: 1})
    receipt = sink.stage(rows(THREE))
    launched = threading.Event()
    started = session.Session.start

    def start(self: session.Session, *args: object) -> object:
        if not launched.is_set():
            launched.set()
            proxy.refuse()
            threading.Timer(1, proxy.resume).start()
        return started(self, *args)

    monkeypatch.setattr(session.Session, "start", start)
    moved = sink.commit([receipt], steps(before, {0: 3}))
    assert moved[0].totals.written == 3
    assert read(sink).height == 3


def test_of_several_contact_points_one_is_enough(
    make_sink: MakeSink, cassandra: str, keyspace: str
) -> None:
    place = cassandra.removeprefix("cassandra://")
    sink = make_sink(url=f"cassandra://127.0.0.1:1,{place}/{keyspace}?replication=1")
    sink.open()
    write(sink, rows(THREE))
    assert read(sink).height == 3


def test_a_port_where_nobody_listens(make_sink: MakeSink, keyspace: str) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        make_sink(url=f"cassandra://user:geheim@127.0.0.1:1/{keyspace}").open()
