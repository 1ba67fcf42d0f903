"""Asks where partitions end: for a reader, and for everything that was ever sent."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin._listoffsets import LatestSpec, OffsetSpec

from penstock.logs.kafka import client

_NEXT: OffsetSpec = LatestSpec()  # type: ignore[no-untyped-call]


def seen(admin: client.Admin, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """For each partition the offset up to which readers of what is committed see it.

    Raises:
        Refused: The user may not see them.
        Unavailable: Kafka is away, or a topic is gone.
    """
    return _ask(admin, places, IsolationLevel.READ_COMMITTED)


def sent(admin: client.Admin, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """For each partition the offset after its last record, committed or not; raises as `seen`."""
    return _ask(admin, places, IsolationLevel.READ_UNCOMMITTED)


def _ask(
    admin: client.Admin, places: Iterable[TopicPartition], level: IsolationLevel
) -> dict[TopicPartition, int]:
    asked = dict.fromkeys(places, _NEXT)
    futures = admin.client.list_offsets(asked, isolation_level=level) if asked else {}
    admin.await_all(futures.values())
    return {
        place: int(admin.result(future, f"topic {place.topic!r}").offset)
        for place, future in futures.items()
    }
