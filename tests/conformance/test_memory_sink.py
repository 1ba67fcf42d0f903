"""The sinks in memory keep what a sink promises: tests on them prove something."""

from __future__ import annotations

import polars as pl
import pytest

from penstock.plan import Lane
from penstock.records import LaneKey
from penstock.testing import MemorySink, MemoryStore
from penstock.testing.conformance import (
    ApartSinkConformance,
    KeyedApartSinkConformance,
    KeyedSinkConformance,
    RejectingApartSinkConformance,
    RejectingSinkConformance,
    SinkConformance,
    SinkStore,
)


class Tables(SinkStore):
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._store = MemoryStore()

    def sink(self, lane: Lane, key: LaneKey) -> MemorySink:
        return self._store.sink(lane, key)

    def reject(self, lane: Lane, email: str) -> None:
        self._store.refuses = pl.col("email") == email

    def exclude(self, lane: Lane) -> None:
        self._store.refuses = ~pl.col("email").is_first_distinct()


class TestUpsert(SinkConformance, KeyedSinkConformance, RejectingSinkConformance):
    @pytest.fixture
    def store(self) -> SinkStore:
        return Tables("upsert")


class TestAppend(SinkConformance, RejectingSinkConformance):
    @pytest.fixture
    def store(self) -> SinkStore:
        return Tables("append")


class TestUpsertApart(
    ApartSinkConformance, KeyedApartSinkConformance, RejectingApartSinkConformance
):
    @pytest.fixture
    def store(self) -> SinkStore:
        return Tables("upsert")


class TestAppendApart(ApartSinkConformance, RejectingApartSinkConformance):
    @pytest.fixture
    def store(self) -> SinkStore:
        return Tables("append")
