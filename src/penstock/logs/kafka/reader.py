"""One consumer over partitions of a topic: knows what came, and which offsets hold nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock.logs.kafka import client
from penstock.logs.kafka.errors import errors
from penstock.logs.kafka.frames import offset_of, partition_of
from penstock.records import Limits, Span

_AHEAD = 16 << 20
"""Bytes that librdkafka reads ahead, beside what one answer of the broker brings."""

GRACE = 0.2
"""Seconds that offsets without a record wait for records to come with: a transaction's marker
follows its records closely, and a micro-batch for it alone would hold up the next records."""

_SETTINGS = {
    "group.id": "penstock",  # asked for, though we join none
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",  # never skip silently
    "max.poll.interval.ms": 86_400_000,
    # The broker holds its answer back for so long when there is nothing: then the end is known,
    # and the connection free to read elsewhere. Records end it at once.
    "fetch.wait.max.ms": 50,
    "fetch.min.bytes": 1,
    "fetch.max.bytes": _AHEAD,
    "queued.max.messages.kbytes": _AHEAD >> 10,
    "queued.min.messages": 50_000,
    "fetch.queue.backoff.ms": 5,  # by default a full queue stops the fetching for a second
    "receive.message.max.bytes": 2_000_000_000,
}


class Reader:
    """Reads partitions in order. One thread uses it.

    An offset that never comes (a transaction's marker, an aborted or compacted record) is passed
    by: a later record or the end of the partition shows that it holds nothing.

    Args:
        url: Of the cluster.
        topic: Which.
        causes: Told what happens to the connections.
    """

    def __init__(self, url: str, topic: str, causes: client.Causes) -> None:
        self._topic = topic
        config: dict[str, Any] = {**client.settings(url), **_SETTINGS, "error_cb": causes}
        with errors(f"topic {topic!r}"):
            self._consumer = Consumer(config)
        self._came: list[Message] = []
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._size = 1000
        self._grace = GRACE
        self._passed = math.inf

    @property
    def next(self) -> Mapping[int, int]:
        """For each partition being read the offset after what was taken."""
        return self._next

    def start(self, starts: Mapping[int, int], grace: float = GRACE) -> None:
        """Read these partitions from these offsets on, and no others.

        Args:
            starts: The offsets.
            grace: Seconds after which offsets are given that hold no record, if none comes.
        """
        self._grace = grace
        self._passed = math.inf
        self._came.clear()
        self._ends.clear()
        self._next = dict(starts)
        with errors(f"topic {self._topic!r}"):
            self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in starts.items()])

    def leave(self, partitions: Collection[int]) -> None:
        """Read these partitions no more."""
        if not partitions:
            return
        with errors(f"topic {self._topic!r}"):
            self._consumer.incremental_unassign(
                [TopicPartition(self._topic, partition) for partition in partitions]
            )
        self._came = [m for m in self._came if partition_of(m) not in partitions]
        for partition in partitions:
            del self._next[partition]
            self._ends.pop(partition, None)

    def look(self, timeout: float, most: int = 1) -> bool:
        """Say whether there is something to `take`; wait for `most` messages up to `timeout`.

        Raises:
            KafkaException: A partition cannot be read.
        """
        if len(self._came) < most:
            self._sort(self._consumer.consume(most - len(self._came), timeout))
        return bool(self._came) or time.monotonic() - self._passed >= self._grace

    def take(self, limits: Limits) -> tuple[dict[int, Span], list[Message]]:
        """Take what came, at most about `limits` but one record.

        Returns:
            For each partition the offsets that are done with, and the records in them.

        Raises:
            KafkaException: A partition cannot be read.
        """
        if not self.look(0, self.fitting(limits)):
            return {}, []
        self._passed = math.inf
        fitting = self._fit(limits)
        taken, self._came = self._came[:fitting], self._came[fitting:]
        waiting = set(map(partition_of, self._came))
        reached = {p: end for p, end in self._ends.items() if p not in waiting}
        for partition, offset in dict(
            zip(map(partition_of, taken), map(offset_of, taken), strict=True)
        ).items():
            reached[partition] = max(offset + 1, reached.get(partition, 0))
        spans = {
            partition: Span(self._next[partition], end)
            for partition, end in sorted(reached.items())
            if end > self._next[partition]
        }
        self._next.update({partition: span.end for partition, span in spans.items()})
        return spans, taken

    def fitting(self, limits: Limits) -> int:
        """How many records will about fill `limits`, as records have been so far."""
        return max(1, min(limits.records, limits.bytes // self._size))

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _sort(self, events: list[Message]) -> None:
        if not any(map(Message.error, events)):
            self._came += events
            return
        failed: KafkaError | None = None
        for event in events:
            error = event.error()
            if error is None:
                self._came.append(event)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._end(partition_of(event), offset_of(event))
            elif error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:  # we are in no group
                failed = error
        if failed is not None:
            raise KafkaException(failed)

    def _end(self, partition: int, offset: int) -> None:
        if offset > self._next.get(partition, offset):
            self._ends[partition] = offset
            self._passed = min(self._passed, time.monotonic())

    def _fit(self, limits: Limits) -> int:
        """Count the messages at the front that are within `limits`, one at least."""
        front = self._came[: limits.records]
        sizes = [len(value or b"") for value in map(Message.value, front)]
        total = sum(sizes)
        if sizes:
            self._size = max(1, total // len(sizes))
        while total > limits.bytes and len(sizes) > 1:
            total -= sizes.pop()
        return len(sizes)
