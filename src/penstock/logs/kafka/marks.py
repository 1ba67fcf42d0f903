"""Shows Kafka's own tools how far the lanes of a pipeline have come, as consumer groups."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from penstock.logs.kafka import client

_LAST = 2.0
"""Seconds that the last marks have to arrive."""

_log = logging.getLogger(__name__)


class Marks:
    """Commits offsets to groups `penstock.<pipeline>.<lane>`, which nobody joins; best effort.

    Args:
        admin: The cluster.
        topic: Whose offsets.
        pipeline: Whose lanes.
    """

    def __init__(self, admin: client.Admin, topic: str, pipeline: str) -> None:
        self._admin = admin
        self._topic = topic
        self._pipeline = pipeline
        self._put: dict[str, Mapping[int, int]] = {}
        self._sent: list[Future[Any]] = []
        self._said = False

    def put(self, lane: str, nexts: Mapping[int, int]) -> None:
        """Send where a lane stands, when that is news; wait for nothing."""
        if not nexts or self._put.get(lane) == nexts:
            return
        self._put[lane] = dict(nexts)
        self._look()
        group = ConsumerGroupTopicPartitions(
            f"penstock.{self._pipeline}.{lane}",
            [TopicPartition(self._topic, p, at) for p, at in nexts.items()],
        )
        self._sent += self._admin.client.alter_consumer_group_offsets([group]).values()

    def close(self) -> None:
        """Wait a little for what was sent last."""
        wait(self._sent, _LAST)
        self._look()

    def _look(self) -> None:
        for future in [future for future in self._sent if future.done()]:
            self._sent.remove(future)
            error = future.exception()
            if isinstance(error, KafkaException) and not self._said:
                self._said = True
                _log.warning(
                    "topic %r: no group shows where lanes stand: %s",
                    self._topic,
                    error.args[0].str(),
                )
