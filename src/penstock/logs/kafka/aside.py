"""The topics of a crash test's own: filled as others would, and removed."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer

from penstock.errors import Unavailable
from penstock.logs.kafka import client
from penstock.logs.kafka.errors import errors
from penstock.logs.kafka.frames import BORN, MICROSECONDS
from penstock.logs.kafka.log import open_topic

if TYPE_CHECKING:
    import polars as pl

_PATIENCE = 60.0
_QUEUE = 10_000
_LARGE = 1_000_000_000
"""Bytes of the largest record that is tried: the topic itself says what is too large."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def made(url: str, namespace: str) -> Iterator[None]:
    """Delete the topics and groups of a pipeline that was set apart, at the end of the block.

    Args:
        url: Of the cluster.
        namespace: What the names of the pipeline and its topics begin with.

    Raises:
        Unavailable: Kafka is away.
        Refused: The user may not delete them.
    """
    try:
        yield
    finally:
        _delete(url, namespace)


def _delete(url: str, namespace: str) -> None:
    admin = client.admin(url)
    beginnings = (f"{namespace}_", f"penstock.{namespace}_")
    listed = admin.result(admin.client.list_consumer_groups())
    groups = [g.group_id for g in listed.valid if g.group_id.startswith(beginnings)]
    topics = [t for t in admin.client.list_topics(timeout=10).topics if t.startswith(beginnings)]
    asked = list(admin.client.delete_consumer_groups(groups).values()) if groups else []
    asked += list(admin.client.delete_topics(topics).values()) if topics else []
    for one in asked:
        admin.result(one)


def fill(url: str, topic: str, partitions: int, frames: Iterable[pl.DataFrame]) -> None:
    """Make a topic and write records to it, outside of transactions.

    Args:
        url: Of the cluster.
        topic: Its name.
        partitions: How many it shall have.
        frames: `value`, and any of `partition`, `key`, `headers` and `born`; without a partition
            Kafka's default partitioner chooses.

    Raises:
        Unavailable: Kafka is away.
        Refused: Kafka says no.
    """
    open_topic(url, topic, partitions).close()
    config: dict[str, Any] = {**client.settings(url), "partitioner": "murmur2_random"}
    with errors(f"topic {topic!r}"):
        producer = Producer({**config, "enable.idempotence": True, "message.max.bytes": _LARGE})
        for records in frames:
            for part in records.iter_slices(_QUEUE):
                _send(producer, topic, part)


def _send(producer: Producer, topic: str, records: pl.DataFrame) -> None:
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    for record in records.iter_rows(named=True):
        producer.produce(topic, on_delivery=delivered, **_message(record))
    if producer.flush(_PATIENCE):
        raise Unavailable(f"topic {topic!r} did not take the records in {_PATIENCE:.0f} s")
    if failures:
        raise KafkaException(failures[0])


def _message(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a producer takes it; the time of birth is a header, as Kafka's own is coarser."""
    found: dict[str, Any] = {"value": record["value"], "key": record.get("key")}
    if "partition" in record:
        found["partition"] = record["partition"]
    pairs = json.loads(record.get("headers") or b"[]")
    headers = [(name, None if value is None else b64decode(value)) for name, value in pairs]
    if "born" in record:
        micros = (record["born"] - _EPOCH) // timedelta(microseconds=1)
        headers.append((BORN, MICROSECONDS.pack(micros)))
    return found | ({"headers": headers} if headers else {})
