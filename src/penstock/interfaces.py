"""What a source, a log, a sink and a service promise: who calls what, when, how often.

The engine owns threads, retries, batching and backpressure; an implementation does I/O and
signals by the errors of `penstock.errors`:

* `Unavailable`: the system is away. The engine waits with backoff and calls again.
* `Rejected`: the store does not take certain rows. The engine finds them and goes on without.
* `Refused`: a final no. The segment stops with the message.
* `Fenced`: a successor owns the partition. The owner stops without writing.

No method is called from two threads at once on one object unless its docstring says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import polars as pl

    from penstock.errors import Rejected

Cursor = Any
"""Where a source stands: any value that JSON can hold. None before the first response."""

CUT_OFF = ("cut-off", "true")
"""Header of a landed response whose connection broke before its end: a dead letter for sure."""

WHOLE = -1
"""The index of a position that names a log record as a whole, not one of its rows."""


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


# --- sources -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """One raw answer of a source, exactly as it came.

    Args:
        body: The bytes, unchanged; they need not be JSON or even text.
        cursor: Where to go on after this response. Committed with the body in one transaction.
        headers: Facts about the response worth keeping (status, URL without secrets, …).
        cut_off: True when the connection broke before the body's end: a dead letter for sure.
    """

    body: bytes
    cursor: Cursor
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_off: bool = False


class Clock(Protocol):
    """Time, passed in so that tests control it."""

    def now(self) -> datetime:
        """Tell the time, in UTC."""

    def wait(self, seconds: float) -> None:
        """Sleep; raises `penstock.faults.Stopped` at once when the engine is stopping."""


@dataclass(frozen=True)
class Framing:
    """How records lie in a response's body or a log record's value.

    Args:
        lines: True when each line of the body is a record (NDJSON). A last line without a
            newline counts; an empty line is a dead letter.
        path: Field names from the body's root to the list of records (or the one record).
            Empty: the body itself is the record, or a list of records when `many` is True.
        many: Whether the value found at `path` is a list of records.
    """

    lines: bool = False
    path: tuple[str, ...] = ()
    many: bool = False


class Source(Protocol):
    """Something that is polled for raw responses. Twenty lines are enough for a new one.

    The engine calls `poll` with the committed cursor, and lands responses in order, one or several
    with the last one's cursor in one transaction; it may ask for some more meanwhile. When `poll`
    ends, the engine waits `every` seconds and calls it again with the last committed cursor.
    After a crash or an `Unavailable`, `poll` is called anew with the last committed cursor: what
    was yielded but not landed must come again. It is called on another thread than the rest, one
    call at a time.
    Not guaranteed: that a started `poll` is run to its end (it is closed on a stop).
    """

    @property
    def framing(self) -> Framing:
        """How records lie in a response's body. A plain attribute will do."""

    @property
    def every(self) -> float | None:
        """Seconds from the end of a poll to the next; None when one poll gives all there is."""

    def describe(self) -> str:
        """One line for people: the system and place, secrets redacted."""

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        """Yield responses from `cursor` on; raise `Unavailable` or `Refused`."""

    def check(self) -> None:
        """Dial the system once, for `penstock check`; raise as `poll` does."""


# --- logs ----------------------------------------------------------------------------------------

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


class Log(Protocol):
    """A partitioned, ordered, replayable log that a segment reads: a landing table or a topic.

    One object serves one thread; `wake` alone may be called from any thread.
    """

    name: str

    def identity(self) -> str:
        """Return the id that changes when the log is re-created."""

    def spans(self) -> Mapping[int, Span]:
        """For each partition the oldest kept offset and the next offset to be given."""

    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        """Read committed records from `starts`; empty at the end of the log, never blocks.

        Raises:
            LogChanged: A start lies before the oldest kept offset or after the end.
            Unavailable: The system is away.
        """

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        """Read exactly these spans (an open batch); raises as `read` does."""

    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        """Block until a record at or past one of `starts` exists; False after `timeout` seconds."""

    def wake(self) -> None:
        """Make a blocked `wait` return now."""

    def close(self) -> None:
        """Release connections; the object is not used afterwards."""


# --- sinks ---------------------------------------------------------------------------------------

ROW_COLUMNS = ("_partition", "_offset", "_index", "_order", "_born", "_deleted")
"""Columns that a frame of rows carries after the contract's: Int32, Int64, Int64, Int64,
Datetime(us, UTC), Boolean. A deleted row has only its key columns; the others are null."""


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
class LaneKey:
    """Under what a store keeps a lane's progress (with the partition)."""

    pipeline: str
    log_id: str
    segment: str
    lane: str


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


@dataclass(frozen=True)
class Capabilities:
    """What a sink can do."""

    upsert: bool = True
    delete: bool = True
    atomic: bool = True
    least_commit_interval: float = 0.0


class Sink(Protocol):
    """Where a lane writes: a table of a store, or a topic of a log.

    Life of a sink: `open`, `claim`, then for each micro-batch `stage` (once or more), `commit`
    (once); after an error `rollback`, then `claim` again. Everything happens on one thread.
    After a crash the next owner calls `claim` first, then `sweep`.
    """

    capabilities: Capabilities

    def open(self) -> None:
        """Dial the store, create or migrate the table. Raises `Unavailable`, `Refused`."""

    def preview(self) -> Sequence[str]:
        """Say what `open` would create or change, one sentence each; writes nothing."""

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        """Raise the epoch of these partitions and say where each stands (start: next 0).

        From the return on, a commit with a lower epoch fails with `Fenced`, even one already
        begun. Raises `Fenced` when a higher epoch is there already.
        """

    def stage(self, rows: pl.DataFrame) -> Receipt:
        """Bring rows (contract columns, then `ROW_COLUMNS`) to the store, invisible to readers.

        Raises `Rejected` when the store does not take them, `Unavailable`.
        """

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        """Make what is staged visible and move the progress, in one transaction.

        Called also with no rows staged (all filtered or dead): the progress moves all the same.
        Checks that as many rows are staged as the receipts count.

        Returns:
            The progress as stored, its totals including what the store counted.

        Raises:
            Fenced: The stored epoch or next offset is not `before`'s.
            Rejected: The store does not take some row; nothing is written.
            Unavailable: The outcome is unknown; `claim` tells.
        """

    def rollback(self) -> None:
        """Forget what is staged; never raises for a lost connection."""

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        """Find the rows that the store rejects, by bisection, keeping nothing.

        Returns:
            For each guilty row its row number in `rows` and the store's error. The other rows,
            staged together in order, are taken.
        """

    def positions(self) -> Iterator[pl.DataFrame]:
        """Yield the rows as they are in the store, in frames, for `reconcile --deep`.

        Append: `_partition`, `_offset`, `_index` and the contract's columns. Upsert: the key and
        the contract's columns and `_order`.
        """

    def progress(self) -> Mapping[int, Progress]:
        """Where the lane stands, without claiming it; for `status` and `reconcile`."""

    def sweep(self, epoch: int) -> None:
        """Remove what owners with a lower epoch staged and never committed."""

    def close(self) -> None:
        """Release connections; never raises."""


SinkFactory = Callable[[], Sink]


# --- services ------------------------------------------------------------------------------------


class Service(Protocol):
    """A server that Penstock starts on this machine."""

    name: str

    def up(self) -> str:
        """Start it if it does not run, wait until it answers, return its URL. Idempotent."""

    def down(self) -> None:
        """Stop it cleanly; data survives. Nothing happens if it does not run."""
