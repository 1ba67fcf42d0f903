"""Foreign producers and owners of topics, as tests need them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import LatestSpec, OffsetSpec
from confluent_kafka.cimpl import NewPartitions, NewTopic

PATIENCE = 60
LATEST: OffsetSpec = LatestSpec()  # type: ignore[no-untyped-call]
UNCOMMITTED = IsolationLevel.READ_UNCOMMITTED


class Owner:
    """Makes, grows, trims and deletes a topic, and writes to it.

    Args:
        url: Of the broker.
        name: The topic's.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._settings: dict[str, Any] = {"bootstrap.servers": urlsplit(url).netloc, "log_level": 0}
        self._admin = AdminClient(self._settings)
        self._producers: dict[str, Producer] = {}

    def make(self, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Make the topic, and wait until the one deleted before is gone."""
        deadline = time.monotonic() + PATIENCE
        while True:
            new = NewTopic(self.name, partitions, 1, config=dict(config or {}))
            try:
                self._admin.create_topics([new])[self.name].result(PATIENCE)
                break
            except KafkaException as error:
                still = error.args[0].name() == "TOPIC_ALREADY_EXISTS"
                if not still or time.monotonic() > deadline:
                    raise
        self._seen(partitions)

    def delete(self) -> None:
        self._admin.delete_topics([self.name])[self.name].result(PATIENCE)

    def grow(self, partitions: int) -> None:
        asked = self._admin.create_partitions([NewPartitions(self.name, partitions)])
        asked[self.name].result(PATIENCE)
        self._seen(partitions)
        self._producers.clear()  # they learn of it in their own time

    def trim(self, partition: int, before: int) -> None:
        """Remove the records before an offset, as retention does."""
        asked = self._admin.delete_records([TopicPartition(self.name, partition, before)])
        next(iter(asked.values())).result(PATIENCE)

    def produce(
        self, values: Sequence[bytes | None], partition: int = 0, **more: Any
    ) -> dict[int, bytes | None]:
        """Write records outside of transactions, in one batch; return them by offset."""
        return self._send(self._producer(None), values, partition, **more)

    def transact(
        self, values: Sequence[bytes | None], partition: int = 0, *, commit: bool
    ) -> dict[int, bytes | None]:
        """Write records in one transaction and commit or abort it; return those to be seen.

        Returns when the broker has written the transaction's marker, which it does soon after.
        """
        producer = self._producer("transactional")
        producer.begin_transaction()
        written = self._send(producer, values, partition)
        if commit:
            producer.commit_transaction(PATIENCE)
        else:
            producer.abort_transaction(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while self._end(partition) < max(written) + 2:
            assert time.monotonic() < deadline
        return written if commit else {}

    def _end(self, partition: int) -> int:
        place = TopicPartition(self.name, partition)
        asked = self._admin.list_offsets({place: LATEST}, isolation_level=UNCOMMITTED)
        return int(asked[place].result(PATIENCE).offset)

    def _send(
        self, producer: Producer, values: Sequence[bytes | None], partition: int, **more: Any
    ) -> dict[int, bytes | None]:
        written: dict[int, bytes | None] = {}

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            written[message.offset() or 0] = message.value()

        for value in values:
            producer.produce(self.name, value, partition=partition, callback=delivered, **more)
            producer.poll(0)
        assert producer.flush(PATIENCE) == 0
        return written

    def producer(self, **settings: Any) -> Producer:
        return Producer({**self._settings, **settings})

    def committed(self, group: str) -> dict[int, int]:
        """What a consumer group has committed."""
        asked = ConsumerGroupTopicPartitions(group)
        found = self._admin.list_consumer_group_offsets([asked])[group].result(PATIENCE)
        return {p.partition: p.offset for p in found.topic_partitions if p.topic == self.name}

    def values(self) -> list[bytes | None]:
        """Everything that a plain consumer sees, which reads what is committed."""
        settings = {**self._settings, "group.id": "anybody", "auto.offset.reset": "earliest"}
        consumer = Consumer({**settings, "enable.partition.eof": True})
        partitions = self._admin.list_topics(self.name, timeout=PATIENCE).topics[self.name]
        consumer.assign([TopicPartition(self.name, p, 0) for p in partitions.partitions])
        found: list[bytes | None] = []
        ended: set[int | None] = set()
        deadline = time.monotonic() + PATIENCE
        while len(ended) < len(partitions.partitions):
            assert time.monotonic() < deadline
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    found.append(message.value())
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
        consumer.close()
        return found

    def transaction(self) -> Producer:
        """A producer of its own that stands in an open transaction."""
        producer = self._transactional()
        producer.begin_transaction()
        return producer

    def _producer(self, kind: str | None) -> Producer:
        key = kind or "plain"
        if key not in self._producers:
            settings = {**self._settings, "linger.ms": 0}
            self._producers[key] = self._transactional() if kind else Producer(settings)
        return self._producers[key]

    def _transactional(self) -> Producer:
        producer = Producer({**self._settings, "transactional.id": f"{self.name}-{uuid.uuid4()}"})
        producer.init_transactions(PATIENCE)
        return producer

    def _seen(self, partitions: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._admin.list_topics(self.name, timeout=PATIENCE).topics[self.name]
            if len(found.partitions) == partitions and not found.error:
                return
            assert time.monotonic() < deadline, found.error
