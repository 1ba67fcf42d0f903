"""A transactional producer of Kafka: what it sends is seen as a whole or never."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from logging import CRITICAL, Logger

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from penstock.logs.kafka import address
from penstock.logs.kafka.client import settings
from penstock.logs.kafka.errors import errors
from penstock.logs.kafka.frames import offset_of, partition_of
from penstock.logs.kafka.headers import Headers

TIMEOUT = 15.0
"""Seconds that Kafka has to take a transaction."""

LIFE = 30.0
"""Seconds after which the broker ends a transaction whose owner is silent."""

_SILENT = Logger("librdkafka", CRITICAL + 1)
"""Whatever librdkafka says on its own comes as an error, too."""

Record = tuple[bytes | None, bytes | None, int, Headers | None]
"""Value, key, partition and headers."""


class Transactions:
    """Sends records in transactions under an id. Of all producers of an id the newest alone works.

    Args:
        url: Of the Kafka cluster.
        name: The id.
        largest: Bytes that a record may have, at most.
    """

    def __init__(self, url: str, name: str, largest: int) -> None:
        self._words = f"transactions of {name!r}"
        self._open = False
        self.ends: dict[tuple[str, int], int] = {}
        """For each topic and partition the offset after the last record that was watched."""
        self._producer = Producer(
            {
                **settings(url),
                "transactional.id": name,
                "transaction.timeout.ms": int(LIFE * 1000),
                "compression.type": address.read(url).compression,
                "linger.ms": 5,
                "batch.size": min(1 << 20, largest),
                "message.max.bytes": max(1000, largest),
                "queue.buffering.max.messages": 0,
                "queue.buffering.max.kbytes": 1 << 20,
            },
            logger=_SILENT,
        )

    def enter(self) -> None:
        """Fence off all other producers of the id, and end what they left open.

        Raises:
            Unavailable: Kafka is away.
        """
        with errors(self._words):
            self._producer.init_transactions(TIMEOUT)

    def begin(self) -> None:
        """Begin a transaction.

        Raises:
            Fenced: Another producer has entered with the id.
            Unavailable: Kafka is away.
        """
        with errors(self._words):
            self._producer.begin_transaction()
            self._open = True

    def send(self, topic: str, records: Iterable[Record], *, watch: bool = False) -> None:
        """Send records in the transaction; raises as `begin` does.

        Args:
            topic: Where to.
            records: In the order they shall have within their partitions.
            watch: Whether to learn their offsets, for `ends`.
        """
        produce, told = self._producer.produce, self._delivered if watch else None
        with errors(self._words):
            for value, key, partition, headers in records:
                try:
                    produce(topic, value, key, partition, told, headers=headers)
                except BufferError:
                    self._make_room()
                    produce(topic, value, key, partition, told, headers=headers)

    def _make_room(self) -> None:
        """Wait until what is on its way, a gigabyte, has arrived."""
        if self._producer.flush(TIMEOUT):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            place = str(message.topic()), partition_of(message)
            self.ends[place] = offset_of(message) + 1

    def commit(self) -> None:
        """Let readers see what was sent, a few milliseconds later.

        Raises:
            Fenced: Another producer has entered with the id; nothing of it will be seen.
            Unavailable: The outcome is unknown; the next to enter finds it settled.
        """
        with errors(self._words):
            self._producer.commit_transaction(TIMEOUT)
            self._open = False
        self._producer.poll(0)

    def close(self) -> None:
        """Forget what is not committed; never raises."""
        if self._open:
            with suppress(KafkaException):  # the next to enter ends it otherwise
                self._producer.purge()
                self._producer.abort_transaction(1.0)
        del self._producer
