"""What a deep comparison starts from, and what it gives, for each lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from penstock.interfaces import Log, Sink
    from penstock.plan import Lane
    from penstock.records import Span

STILL_DEAD = ("dead", "pending", "discarded", "replaying")
"""States of letters whose rows are in no store."""


@dataclass(frozen=True)
class Written:
    """The topic that a lane writes.

    Args:
        topic: It.
        spans: What of it is compared; all of that was written before `Standing.ends`.
        sure: Offsets of the log that was read, before which all rows were in the topic by then.
        keeps: Whether it still has all that the lane wrote but what retention took.
        signed: The headers of the lane's records, if others write the topic, too.
    """

    topic: Log
    spans: Mapping[int, Span]
    sure: Mapping[int, int]
    keeps: bool
    signed: bytes


@dataclass(frozen=True)
class Standing:
    """What is known of a lane before its rows are compared.

    Args:
        lane: The lane.
        sink: For its rows.
        ends: Up to which offsets its rows are compared.
        doubtful: Spans that cannot be compared by value, with the reason, by partition.
        letters: Its dead letters: `partition`, `offset`, `index`, `state`, `stage`, `rule`.
        loose: Whether replays were made by other code.
        moving: Whether a process may be writing meanwhile.
        anew: Whether the log was made anew, so that there are rows of the one before.
        written: The topic that it writes; None for a table.
    """

    lane: Lane
    sink: Sink
    ends: Mapping[int, int]
    doubtful: Mapping[int, Sequence[Span]]
    letters: pl.DataFrame
    loose: bool
    moving: bool
    anew: bool = False
    written: Written | None = None


@dataclass
class Compared:
    """What came of comparing a lane's rows."""

    rows: int = 0
    doubtful: int = 0
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
