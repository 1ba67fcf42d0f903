"""What the ledger says of a run's micro-batches, without the first ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

_QUERY = """
    SELECT extract(epoch FROM e.opened_at)::float8, extract(epoch FROM max(e.closed_at))::float8,
        sum(e.records)::int8
    FROM penstock.ledger AS e JOIN penstock.lanes AS l ON l.id = e.lane
    WHERE l.pipeline = %s AND e.opened_at IS NOT NULL
    GROUP BY e.opened_at ORDER BY 2
"""


@dataclass(frozen=True)
class Batch:
    """A micro-batch of one lane: when it was opened and closed, how many records it had."""

    opened: float
    closed: float
    records: int


@dataclass(frozen=True)
class Steady:
    """The micro-batches of a run, the first of which only bring it to speed.

    Args:
        first: The last of those that are left out: its close is where the time begins.
        batches: All others.
    """

    first: Batch
    batches: Sequence[Batch]

    @property
    def start(self) -> float:
        """When the time begins, as `time.time()` gives it."""
        return self.first.closed

    @property
    def end(self) -> float:
        """When it ends."""
        return self.batches[-1].closed

    @property
    def records(self) -> int:
        """How many records there are in it."""
        return sum(batch.records for batch in self.batches)

    @property
    def rate(self) -> float:
        """Records/s."""
        return self.records / (self.end - self.start)

    @property
    def period(self) -> float:
        """Seconds from one micro-batch to the next: what each costs when there is always more."""
        return (self.end - self.start) / len(self.batches)

    @property
    def took(self) -> float:
        """Median of the seconds from a micro-batch's opening to its closing."""
        return statistics.median(batch.closed - batch.opened for batch in self.batches)


def steady(url: str, pipeline: str, seconds: float) -> Steady:
    """Read the micro-batches of a pipeline of one lane.

    Args:
        url: Of home.
        pipeline: Its name.
        seconds: So much of the beginning is left out, half of the run at most.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        found = [Batch(*row) for row in connection.execute(_QUERY, (pipeline,))]
    if len(found) < 2:
        raise AssertionError(f"{len(found)} micro-batches of {pipeline} are too few")
    since = min(seconds, (found[-1].closed - found[0].opened) / 2)
    early = sum(batch.closed <= found[0].opened + since for batch in found)
    early = min(max(1, early), len(found) - 1)
    return Steady(found[early - 1], found[early:])
