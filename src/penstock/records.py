"""What travels between the pieces: positions, spans, counts, letters, frames, progress, receipts.

Only values and their arithmetic; `penstock.interfaces` says who hands them to whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


WHOLE = -1
"""The index of a position that names a log record as a whole, not one of its rows."""


CUT_OFF = ("cut-off", "true")
"""Header of a landed response that is not whole: a dead letter for sure."""

CUT_OFF_WHY = "cut-off-why"
"""Header beside it with the source's words; without it the connection broke."""


WITHHELD = ("withheld", "masked fields")
"""Header of a dead letter's record that was rewritten, since its contract has masked fields."""


@dataclass(frozen=True, order=True)
class Position:
    """Names a record for ever: `index` counts the rows that one log record gives.

    `index` is `WHOLE` for a record that failed before it was taken apart.
    """

    partition: int
    offset: int
    index: int = 0


@dataclass(frozen=True)
class Span:
    """Offsets of one partition: `start` inclusive, `end` exclusive."""

    start: int
    end: int

    def __len__(self) -> int:
        """How many offsets the span holds, present or absent."""
        return self.end - self.start


@dataclass(frozen=True)
class Counts:
    """What became of the records of one lane and partition.

    `records` were read; `absent` offsets held none; `expanded` rows came in addition (negative
    when a record gave no row). Balanced means
    `records + expanded = written + superseded + deleted + filtered + deduplicated + dead`.
    """

    records: int = 0
    absent: int = 0
    expanded: int = 0
    written: int = 0
    superseded: int = 0
    deleted: int = 0
    filtered: int = 0
    deduplicated: int = 0
    dead: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add field by field."""
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Counts) -> Counts:
        """Subtract field by field."""
        return Counts(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    @property
    def accounted(self) -> int:
        """The right-hand side of the balance."""
        done = self.written + self.superseded + self.deleted
        return done + self.filtered + self.deduplicated + self.dead

    @property
    def balanced(self) -> bool:
        """Whether every record that went in is accounted for."""
        return self.records + self.expanded == self.accounted


@dataclass(frozen=True)
class Cause:
    """Why a record is dead, in parts that can be grouped.

    Args:
        stage: Where it failed: `decode`, `contract`, `map`, `filter`, `explode`, `delete`, `store`.
        rule: The rule that was broken, the same words for every record that breaks it.
        field: Dotted path of the field, empty when no field is to blame.
        value: The offending value, shortened to at most 200 characters.
        detail: A traceback or the store's words; kept once for each group.
    """

    stage: str
    rule: str
    field: str = ""
    value: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Letter:
    """A dead letter: a record that some lanes do not get, and why."""

    position: Position
    lanes: tuple[str, ...]
    cause: Cause


LOG_COLUMNS = ("partition", "offset", "key", "value", "headers", "born")
"""Columns of a frame of log records: Int32, Int64, Binary?, Binary?, Binary?, Datetime(us, UTC).

`headers` is null or a JSON array of `[name, base64 of the value]`. A null `value` is a delete.
"""


@dataclass(frozen=True)
class LogBatch:
    """Records of a log: for each partition the span that was read and what it held.

    `records` has `LOG_COLUMNS`, sorted by partition and offset; offsets of a span that are not in
    it are absent (never existed for a reader).
    """

    spans: Mapping[int, Span]
    records: pl.DataFrame


@dataclass(frozen=True)
class Limits:
    """How much one read may return at most (at least one record is returned if there is one)."""

    records: int
    bytes: int


ROW_COLUMNS = ("_partition", "_offset", "_index", "_order", "_born", "_deleted")
"""Columns that a frame of rows carries after the contract's: Int32, Int64, Int64, Int64,
Datetime(us, UTC), Boolean. A deleted row has only its key columns; the others are null."""


@dataclass(frozen=True)
class LaneKey:
    """Under what a store keeps a lane's progress (with the partition)."""

    pipeline: str
    log_id: str
    segment: str
    lane: str


@dataclass(frozen=True)
class Progress:
    """Where a lane stands in one partition, as its store says it.

    Args:
        next: The next offset to be written.
        epoch: The epoch of the owner that may move it.
        totals: Counts of all records before `next`, since the lane began.
        last: The position written last, for people.
        plan: Fingerprint of plan and code that wrote the last micro-batch.
        tail: Fingerprint of the log record before `next`: it shows a log that was restored.
    """

    next: int
    epoch: int
    totals: Counts = Counts()
    last: Position | None = None
    plan: str = ""
    tail: str = ""


@dataclass(frozen=True)
class Receipt:
    """What `stage` staged: how many rows of each partition, and the sink's own token.

    Receipts travel between processes: `token` is plain text.
    """

    rows: Mapping[int, int]
    token: str = ""

    @property
    def total(self) -> int:
        """Rows of all partitions."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Step:
    """One partition's progress as read, and as it shall be after the commit.

    `after.totals` lacks what only the store can count (written, superseded, deleted): the sink
    adds these before it stores the progress.
    """

    before: Progress
    after: Progress
