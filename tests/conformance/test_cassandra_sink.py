"""The Cassandra sink keeps what a sink promises."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.stack.proxy import Proxy

from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import LaneKey
from penstock.sinks.cassandra import CassandraSink
from penstock.testing.conformance import (
    ApartSinkConformance,
    KeyedApartSinkConformance,
    KeyedSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
    SinkStore,
)


class CassandraStore(SinkStore):
    mode = "upsert"
    tells_late = False
    mends = True
    writes_at_once = True

    def __init__(self, proxy: Proxy, keyspace: str) -> None:
        self._proxy = proxy
        self._url = f"cassandra://127.0.0.1:{proxy.port}/{keyspace}?replication=1"
        self._sinks: list[CassandraSink] = []

    def takes_name(self, name: str) -> bool:
        return re.fullmatch(r"\w{1,48}", name, re.ASCII) is not None

    def sink(self, lane: Lane, key: LaneKey) -> CassandraSink:
        self._sinks.append(CassandraSink(Store("serving", self._url), lane, key))
        return self._sinks[-1]

    def cut(self) -> None:
        self._proxy.cut()

    def close(self) -> None:
        for made in self._sinks:
            made.close()


class TestUpsert(
    SinkConformance,
    KeyedSinkConformance,
    RemoteSinkConformance,
    ApartSinkConformance,
    KeyedApartSinkConformance,
):
    @pytest.fixture
    def store(self, cassandra: str, keyspace: str) -> Iterator[SinkStore]:
        with Proxy(cassandra) as proxy:
            made = CassandraStore(proxy, keyspace)
            yield made
            made.close()
