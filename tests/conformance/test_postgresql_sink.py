"""The PostgreSQL sink keeps what a sink promises, in both modes."""

from __future__ import annotations

import pytest

from penstock.testing.conformance import (
    ApartSinkConformance,
    KeyedApartSinkConformance,
    KeyedSinkConformance,
    RejectingApartSinkConformance,
    RejectingSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
    SinkStore,
)


class TestUpsert(
    SinkConformance, KeyedSinkConformance, RejectingSinkConformance, RemoteSinkConformance
):
    @pytest.fixture
    def store(self, upsert_table: SinkStore) -> SinkStore:
        return upsert_table


class TestAppend(SinkConformance, RejectingSinkConformance, RemoteSinkConformance):
    @pytest.fixture
    def store(self, append_table: SinkStore) -> SinkStore:
        return append_table


class TestUpsertApart(
    ApartSinkConformance, KeyedApartSinkConformance, RejectingApartSinkConformance
):
    @pytest.fixture
    def store(self, upsert_table: SinkStore) -> SinkStore:
        return upsert_table


class TestAppendApart(ApartSinkConformance, RejectingApartSinkConformance):
    @pytest.fixture
    def store(self, append_table: SinkStore) -> SinkStore:
        return append_table
