"""From where to where the micro-batches of one streaming query go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from penstock.records import Span

MOST_BYTES = 64 << 20
"""About how many bytes a micro-batch may have: a query that meets other records starts anew."""

_FAR = 4
"""How many times larger than that, or smaller, a micro-batch shows that its query does not fit."""


class Bounds:
    """What one query has read, and whether it shall go on.

    Args:
        folder: Its checkpoint, new.
        topic: What it reads.
        nexts: Where it starts.
        records: The most offsets of a micro-batch.
        wanted: The most that they would be, were the records small.
    """

    def __init__(
        self, folder: Path, topic: str, nexts: Mapping[int, int], records: int, wanted: int
    ) -> None:
        self.nexts = dict(nexts)
        """For each partition the next offset."""
        self.records = records
        self.misfit = False
        """Whether the records are much larger or smaller than they were when it began."""
        self._folder = folder
        self._topic = topic
        self._wanted = wanted
        self._left = Event()

    @property
    def left(self) -> bool:
        """Whether micro-batches that come now are left alone: another query reads them again."""
        return self._left.is_set()

    def leave(self) -> None:
        """Take no more micro-batches."""
        self._left.set()

    def spans(self, number: int) -> dict[int, Span]:
        """Say what a micro-batch holds; Spark has written it down before running it.

        Args:
            number: As Spark counts them.
        """
        lines = (self._folder / "offsets" / str(number)).read_text(encoding="utf-8").splitlines()
        ends = json.loads(lines[-1])[self._topic]
        spans = {int(p): Span(self.nexts[int(p)], end) for p, end in ends.items()}
        return {p: span for p, span in sorted(spans.items()) if len(span)}

    def passed(self, spans: Mapping[int, Span]) -> None:
        """Go on behind a micro-batch."""
        self.nexts.update({p: span.end for p, span in spans.items()})

    def judge(self, spans: Mapping[int, Span], size: int) -> None:
        """See whether the query's micro-batches have a bearable size.

        Args:
            spans: Of a micro-batch.
            size: Bytes of its records.
        """
        offsets = sum(len(span) for span in spans.values())
        small = self.records < self._wanted and 2 * offsets >= self.records
        if size > _FAR * MOST_BYTES or (small and size * _FAR < MOST_BYTES):
            self.misfit = True
