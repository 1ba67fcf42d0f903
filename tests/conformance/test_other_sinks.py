"""The topic sink and the sinks in memory keep what a sink promises."""

from __future__ import annotations

import polars as pl
import pytest

from penstock.interfaces import Sink
from penstock.plan import Lane
from penstock.records import LaneKey
from penstock.testing import MemoryStore
from penstock.testing.conformance import (
    KeyedSinkConformance,
    RejectingSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
    SinkStore,
)


class InMemory(SinkStore):
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._memory = MemoryStore()

    def sink(self, lane: Lane, key: LaneKey) -> Sink:
        return self._memory.sink(lane, key)

    def reject(self, lane: Lane, email: str) -> None:
        self._memory.refuses = pl.col("email") == email

    def exclude(self, lane: Lane) -> None:
        self._memory.refuses = ~pl.col("email").is_first_distinct()


class TestTopic(SinkConformance, RemoteSinkConformance):
    @pytest.fixture
    def store(self, topic: SinkStore) -> SinkStore:
        return topic


class TestMemoryUpsert(SinkConformance, KeyedSinkConformance, RejectingSinkConformance):
    @pytest.fixture
    def store(self) -> SinkStore:
        return InMemory("upsert")


class TestMemoryAppend(SinkConformance, RejectingSinkConformance):
    @pytest.fixture
    def store(self) -> SinkStore:
        return InMemory("append")
