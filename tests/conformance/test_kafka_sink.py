"""The topic sink of Kafka keeps what a sink promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from penstock.logs.kafka.topic_sink import KafkaTopicSink
from penstock.plan import Lane
from penstock.records import LaneKey
from penstock.testing.conformance import SinkConformance, SinkStore


class KafkaStore(SinkStore):
    """Topics and progress below one prefix, so that each test has its own."""

    mode = "topic"

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        self._sinks: list[KafkaTopicSink] = []

    def sink(self, lane: Lane, key: LaneKey) -> KafkaTopicSink:
        # what else a name may hold is for pipelines, segments and lanes; Kafka takes no such topic
        lane = replace(lane, table=self._prefix + re.sub(r"[^a-z]", "_", lane.table))
        key = replace(key, pipeline=f"{self._prefix}_{key.pipeline}")
        self._sinks.append(KafkaTopicSink(self._url, lane, key))
        return self._sinks[-1]

    def close(self) -> None:
        for made in self._sinks:
            made.close()


class TestKafkaTopic(SinkConformance):
    @pytest.fixture
    def store(self, kafka: str, topic_name: str) -> Iterator[SinkStore]:
        made = KafkaStore(kafka, topic_name)
        yield made
        made.close()
