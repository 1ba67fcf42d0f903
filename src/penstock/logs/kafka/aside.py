"""The topics of a crash test's own, removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.logs.kafka import client


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
    yield
    admin = client.admin(url)
    beginnings = (f"{namespace}_", f"penstock.{namespace}_")
    listed = admin.result(admin.client.list_consumer_groups())
    groups = [g.group_id for g in listed.valid if g.group_id.startswith(beginnings)]
    topics = [t for t in admin.client.list_topics(timeout=10).topics if t.startswith(beginnings)]
    asked = list(admin.client.delete_consumer_groups(groups).values()) if groups else []
    asked += list(admin.client.delete_topics(topics).values()) if topics else []
    for one in asked:
        admin.result(one)
