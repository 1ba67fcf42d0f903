"""A topic of Kafka keeps what a log promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from tests.live.kafka.producing import Owner

from penstock.logs.kafka import KafkaLog, open_topic
from penstock.testing.conformance import (
    KeyedLogConformance,
    LogConformance,
    LogStore,
    PartitionedLogConformance,
    RecreatedLogConformance,
    RetainingLogConformance,
    SparseLogConformance,
)


class KafkaStore(LogStore):
    """A topic that another program writes."""

    def __init__(self, url: str, topic: str, partitions: int) -> None:
        self.partitions = partitions
        self._url = url
        self._owner = Owner(url, topic)
        self._owner.make(partitions)
        self._opened: list[KafkaLog] = []

    def log(self) -> KafkaLog:
        self._opened.append(open_topic(self._url, self._owner.name, pipeline="shop"))
        return self._opened[-1]

    def append(self, partition: int, values: Sequence[bytes]) -> None:
        self._owner.produce(values, partition)

    def append_keyed(self, key: bytes, value: bytes | None) -> None:
        self._owner.produce([value], partition=-1, key=key)  # librdkafka chooses by the key

    def drop(self, partition: int, before: int) -> None:
        self._owner.trim(partition, before)

    def recreate(self) -> None:
        self._owner.delete()
        self._owner.make(self.partitions)

    def skip(self, partition: int) -> None:
        self._owner.transact([b"x", b"y"], partition, commit=False)

    def close(self) -> None:
        for log in self._opened:
            log.close()


class TestKafkaLog(
    LogConformance,
    KeyedLogConformance,
    RetainingLogConformance,
    RecreatedLogConformance,
    SparseLogConformance,
):
    @pytest.fixture
    def store(self, kafka: str, topic_name: str) -> Iterator[LogStore]:
        made = KafkaStore(kafka, topic_name, 1)
        yield made
        made.close()


class TestPartitionedKafkaLog(PartitionedLogConformance, KeyedLogConformance):
    @pytest.fixture
    def store(self, kafka: str, topic_name: str) -> Iterator[LogStore]:
        made = KafkaStore(kafka, topic_name, 3)
        yield made
        made.close()
