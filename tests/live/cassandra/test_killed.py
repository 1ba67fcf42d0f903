"""A real Cassandra that is killed and stopped while a lane writes to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.test_order import fold, history
from tests.live.cassandra.writing import read
from tests.stack.servers import Servers

from penstock.errors import Unavailable
from penstock.records import Progress
from penstock.sinks.cassandra import CassandraSink
from penstock.testing.conformance.subjects import steps

pytestmark = pytest.mark.timeout(600)  # a Cassandra is started

EACH = 500


def test_nothing_is_lost_when_the_server_is_killed_and_stopped(
    make_sink: MakeSink, own_servers: Servers
) -> None:
    server = own_servers.start("cassandra")
    log = history(11, 20_000, 700)
    sink = make_sink(url=f"{server.url}/kills?replication=1")
    sink.open()
    half = log.height // 2
    _write_all(sink, log[:half], server.kill, server.up)
    _write_all(sink, log, server.stop, server.resume)
    assert sink.progress()[0].next == log.height
    assert_frame_equal(read(sink), fold(log))


def _write_all(
    sink: CassandraSink, log: pl.DataFrame, strike: Callable[[], None], heal: Callable[[], None]
) -> None:
    """Write the log from where the sink stands; strike in the middle, heal when it is away."""
    stands = sink.claim({0: 1})
    start = stands[0].next
    struck = threading.Thread(target=strike)
    healed = False
    while stands[0].next < log.height:
        if stands[0].next - start >= log.height // 4 and struck.ident is None:
            struck.start()
        part = log[stands[0].next : stands[0].next + EACH]
        try:
            receipt = sink.stage(part)
            stands = sink.commit([receipt], steps(stands, {0: stands[0].next + part.height}))
        except Unavailable:
            struck.join()
            if not healed:
                heal()
                healed = True
            stands = _claim(sink)
    assert healed, "the server was never away"


def _claim(sink: CassandraSink) -> Mapping[int, Progress]:
    for _ in range(30):
        try:
            return sink.claim({0: 1})
        except Unavailable as error:
            last = error
    raise last
