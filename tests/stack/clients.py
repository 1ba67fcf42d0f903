"""Plain clients, for looking at the servers from outside of Penstock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def cql(url: str) -> Iterator[Any]:
    """Connect to Cassandra; a statement may take half a minute on a slow machine."""
    from cassandra.cluster import Cluster

    place = urlsplit(url)
    cluster = Cluster([place.hostname], port=place.port, connect_timeout=30)
    try:
        session = cluster.connect()
        session.default_timeout = 30
        yield session
    finally:
        cluster.shutdown()


def produce(url: str, topic: str, values: Sequence[bytes]) -> None:
    """Make a topic of one partition and write records to it."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    settings: dict[str, Any] = {"bootstrap.servers": urlsplit(url).netloc}
    admin = AdminClient({**settings})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(60)
    producer = Producer({**settings, "message.max.bytes": 2 << 20})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(60) == 0


def configure(url: str, topic: str, settings: Mapping[str, str]) -> None:
    """Set settings of a topic, as its owner would."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource

    admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc})
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(60)


def topics(url: str) -> list[str]:
    """Name every topic."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc})
    return list(admin.list_topics(timeout=30).topics)


def delete_topics(url: str, name: str) -> None:
    """Delete the topics that have this in their names."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc})
    found = [topic for topic in admin.list_topics(timeout=30).topics if name in topic]
    if found:
        for deleted in admin.delete_topics(found).values():
            deleted.result(60)
