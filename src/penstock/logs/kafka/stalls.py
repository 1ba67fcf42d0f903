"""Notices transactions that nobody ends: they hide from readers what follows."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

LONG = 60.0
"""Seconds after which a transaction that is still open is spoken of; brokers end those of the dead
after as long, unless their producers set it otherwise."""

_log = logging.getLogger(__name__)


class Stalls:
    """Watches the ends of one topic's partitions.

    Args:
        topic: For messages.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._since: dict[int, tuple[int, float]] = {}
        self._said: set[tuple[int, int]] = set()

    def look(self, seen: Mapping[int, int], sent: Mapping[int, int]) -> None:
        """Compare where partitions end for readers with where they end; say it once for each stall.

        Args:
            seen: For each partition the offset up to which readers see it.
            sent: For each the offset after its last record, committed or not.
        """
        now = time.monotonic()
        for partition, end in seen.items():
            at, since = self._since.get(partition, (-1, now))
            if at != end or sent[partition] <= end:
                self._since[partition] = (end, now)
            elif now - since > LONG and (partition, end) not in self._said:
                self._said.add((partition, end))
                _log.warning(
                    "topic %r: a transaction that began at offset %d of partition %d is open for "
                    "over %.0f s and hides %d offsets; they are waited for. If its producer is "
                    "gone for good, end it with `kafka-transactions.sh find-hanging` and `abort`",
                    *(self._topic, end, partition, LONG, sent[partition] - end),
                )
