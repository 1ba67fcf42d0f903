"""Plain clients, for looking at the servers from outside of Penstock."""

from __future__ import annotations

from collections.abc import Iterator
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


def delete_topics(url: str, prefix: str) -> None:
    """Delete the topics whose name begins so; some may hold another name's beginning no more."""
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": urlsplit(url).netloc})
    found = [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    if found:
        for deleted in admin.delete_topics(found).values():
            deleted.result(30)
