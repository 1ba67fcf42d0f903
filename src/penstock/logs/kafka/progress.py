"""Where each topic lane stands, kept in Kafka beside what it writes: a compacted topic.

A record's key names a lane and partition, its value is the progress. It is written in the very
transaction that writes the rows, so that both are seen or neither. The newest record of a key
counts; compaction removes the others, so that reading the topic from its start stays quick.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from penstock.errors import Unavailable
from penstock.logs.kafka import client, offsets, topics
from penstock.logs.kafka.errors import translated
from penstock.logs.kafka.frames import offset_of
from penstock.records import Counts, LaneKey, Position, Progress

PATIENCE = 45.0
"""Seconds to wait for transactions that others have open; longer than the broker lets them be."""

SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1 << 20),
    "segment.ms": str(3_600_000),
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": "60000",
}
"""Small segments: the one that is written is never compacted, and is read at every start."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def topic_of(pipeline: str) -> str:
    """Name the topic that holds a pipeline's progress; Kafka takes few characters in a name."""
    safe = _UNSAFE.sub("_", pipeline)
    if safe != pipeline:
        safe += "-" + blake2b(pipeline.encode(), digest_size=4).hexdigest()
    return f"penstock.{safe}.progress"


def wanted(pipeline: str) -> topics.Wanted:
    """Say what the topic of a pipeline's progress shall be like."""
    return topics.Wanted(topic_of(pipeline), 1, config=SETTINGS)


def record(key: LaneKey, partition: int, progress: Progress) -> tuple[bytes, bytes]:
    """Write a lane's progress as key and value of a record."""
    return _name(key) + b"%d]" % partition, json.dumps(asdict(progress)).encode()


def _name(key: LaneKey) -> bytes:
    """How the keys of a lane begin: a JSON array, of which the partition is the last item."""
    parts = [key.pipeline, key.log_id, key.segment, key.lane]
    return json.dumps(parts).encode()[:-1] + b", "


class Scan:
    """Reads the progress of one lane; each `stands` reads on from where the last one ended.

    Args:
        url: Of the Kafka cluster.
        admin: Connected to it: one that is not yet takes seconds to ask where a partition ends.
        key: The lane.
    """

    def __init__(self, url: str, admin: client.Admin, key: LaneKey) -> None:
        self._lane = _name(key)
        self._place = TopicPartition(topic_of(key.pipeline), 0, 0)
        self._words = f"topic {self._place.topic!r}"
        self._admin = admin
        self._consumer = Consumer(
            {
                **client.settings(url),
                "group.id": "penstock",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([self._place])
        self._next = 0
        self._found: dict[int, Progress] = {}

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *exception: object) -> None:
        self._consumer.close()

    def glance(self) -> dict[int, Progress]:
        """Tell where the lane stands as readers see it now; raises `Unavailable`."""
        (end,) = offsets.seen(self._admin, [self._place]).values()
        return self._read(end)

    def stands(self) -> dict[int, Progress]:
        """Tell where the lane stands in each partition, all that was committed by now included.

        A commit is known to its producer before readers see it, and any transaction that is still
        open hides what was committed behind it. So this reads up to the last record of all, and
        waits for open transactions to end; the broker ends those of the dead.

        Raises:
            Unavailable: Kafka is away, or a transaction stays open.
        """
        (end,) = offsets.sent(self._admin, [self._place]).values()
        return self._read(end)

    def _read(self, end: int) -> dict[int, Progress]:
        deadline = time.monotonic() + PATIENCE
        while self._next < end:
            self._take()
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"a transaction in {self._words} stays open at offset "
                    f"{self._next}; trying again. `kafka-transactions.sh find-hanging` names it"
                )
        return dict(sorted(self._found.items()))

    def _take(self) -> None:
        message = self._consumer.poll(0.1)
        if message is None:
            return
        error = message.error()
        if error is None:
            self._keep(message.key() or b"", message.value())
            self._next = offset_of(message) + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            self._next = offset_of(message)
        else:
            raise translated(error, self._words)

    def _keep(self, key: bytes, value: bytes | None) -> None:
        if not key.startswith(self._lane):
            return
        partition = int(key[len(self._lane) : -1])
        if value is None:
            self._found.pop(partition, None)
        else:
            self._found[partition] = _progress(json.loads(value))


def _progress(stored: Mapping[str, Any]) -> Progress:
    last = stored["last"] and Position(**stored["last"])
    return Progress(**{**stored, "totals": Counts(**stored["totals"]), "last": last})
