"""The sink into a Kafka store keeps what a sink promises, in both modes and every format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from penstock.logs.kafka.store_sink import KafkaStoreSink
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import LaneKey
from penstock.testing.conformance import KeyedSinkConformance, SinkConformance, SinkStore


def _plain(name: str) -> str:
    """What Kafka takes of a name."""
    return re.sub(r"[^a-z]", "_", name)


class Cluster(SinkStore):
    """A store whose topics, and the progress of whose pipelines, are below one prefix."""

    tells_late = False

    def __init__(self, mode: str, prefix: str, store: Store) -> None:
        self.mode = mode
        self._prefix = prefix
        self._store = store
        self._sinks: list[KafkaStoreSink] = []

    def sink(self, lane: Lane, key: LaneKey) -> KafkaStoreSink:
        lane = replace(lane, table=_plain(lane.table))
        key = replace(key, pipeline=f"{self._prefix}_{key.pipeline}")
        self._sinks.append(KafkaStoreSink(self._store, lane, key))
        return self._sinks[-1]

    def visible(self, lane: Lane) -> pl.DataFrame:
        """What the pipeline that has written sees: others' records are not its rows."""
        writer = replace(self._sinks[0]._key, lane="reader")
        reader = KafkaStoreSink(self._store, replace(lane, table=_plain(lane.table)), writer)
        self._sinks.append(reader)
        frames = [frame.select(lane.spec.polars.names()) for frame in reader.positions()]
        return pl.concat([pl.DataFrame(schema=lane.spec.polars), *frames])

    def close(self) -> None:
        for made in self._sinks:
            made.close()


def cluster(mode: str, url: str, prefix: str, **given: Any) -> Iterator[Cluster]:
    made = Cluster(mode, prefix, Store("events", url, prefix=f"{prefix}.", **given))
    yield made
    made.close()


class TestAppending:
    """What differs from a topic of the log, which keeps all the others."""

    test_a_commit_shows_exactly_the_rows = SinkConformance.test_a_commit_shows_exactly_the_rows
    test_each_partition_is_counted = SinkConformance.test_each_partition_is_counted
    test_isolate_keeps_nothing = SinkConformance.test_isolate_keeps_nothing
    test_open_twice_changes_nothing = SinkConformance.test_open_twice_changes_nothing
    test_a_preview_writes_nothing = SinkConformance.test_a_preview_writes_nothing
    test_every_type_comes_back_without_loss = (
        SinkConformance.test_every_type_comes_back_without_loss
    )

    @pytest.fixture
    def store(self, kafka: str, topic_name: str) -> Iterator[SinkStore]:
        yield from cluster("append", kafka, topic_name)


class TestUpserting(SinkConformance, KeyedSinkConformance):
    @pytest.fixture
    def store(self, kafka: str, topic_name: str) -> Iterator[SinkStore]:
        yield from cluster("upsert", kafka, topic_name)


@pytest.mark.parametrize("format_", ["avro", "json-schema"])
class TestFormats:
    test_every_type_comes_back_without_loss = (
        SinkConformance.test_every_type_comes_back_without_loss
    )

    @pytest.fixture
    def store(
        self, kafka: str, registry: str, topic_name: str, format_: str
    ) -> Iterator[SinkStore]:
        yield from cluster("upsert", kafka, topic_name, registry=registry, format=format_)
