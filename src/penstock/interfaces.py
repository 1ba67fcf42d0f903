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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from penstock.records import Limits, LogBatch, Progress, Receipt, Span, Step

if TYPE_CHECKING:
    import polars as pl

    from penstock.errors import Rejected

Cursor = Any
"""Where a source stands: any value that JSON can hold. None before the first response."""


# --- sources -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """One raw answer of a source, exactly as it came.

    Args:
        body: The bytes, unchanged; they need not be JSON or even text.
        cursor: Where to go on after this response. Committed with the body in one transaction.
        headers: Facts about the response worth keeping (status, URL without secrets, …).
        cut_off: Whether the body is not whole: a dead letter for sure. True when the connection
            broke before its end; else what is wrong, for the letter's cause, such as
            `"in/a.gz: Truncated compressed stream"`. It is shown even when fields are masked, so
            it holds nothing of a record.
    """

    body: bytes
    cursor: Cursor
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_off: bool | str = False


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
        changes: True when each line is a change of a row with a key, as `contract.changes` reads
            it: the record is what is `after` it, or a delete of its `key`. Implies `lines`.
        delimiter: The character between fields when a body is CSV, as `contract.delimited` reads
            it: a header line, then records. Empty: it is no CSV.
        columns: Names of the columns of CSV that has no header line.
        null: The text of a field of CSV that is null, where the contract's field may be null.
    """

    lines: bool = False
    path: tuple[str, ...] = ()
    many: bool = False
    changes: bool = False
    delimiter: str = ""
    columns: tuple[str, ...] = ()
    null: str = ""


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

    def check(self) -> Iterable[str] | None:
        """Dial the system once, for `penstock check`; raise as `poll` does.

        Returns:
            What a start would create, and what is worth a look, one sentence each; None when
            there is nothing to say.
        """


@runtime_checkable
class Attentive(Protocol):
    """What a `Source` may have besides, to hold a place in its system until records are landed."""

    def landed(self, cursor: Cursor) -> None:
        """The response with this cursor is committed, and all before it.

        Called on another thread than `poll`, often while one is running; returns at once.
        """

    def leave(self) -> None:
        """Nobody polls any more: let go of the system, now or when the running poll ends.

        A later `poll` begins anew. Called on another thread than `poll`; never raises.
        """


@runtime_checkable
class Ranged(Protocol):
    """What a `Source` may have besides, to be asked for the records of a range alone."""

    def between(self, start: str, end: str) -> Source:
        """The same source for a range: one poll gives all of it, and then ends.

        Args:
            start: The first bound that is in the range, as the system writes it.
            end: The first bound that is not.

        Raises:
            Refused: These are no bounds, or the program does not say how to ask.
        """


# --- logs ----------------------------------------------------------------------------------------


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

    def mark(self, lane: str, nexts: Mapping[int, int]) -> None:
        """Tell the log how far a lane has come, for the system's own tools; best effort.

        Called about once a second and at the end, from the thread that reads. Nothing in
        Penstock reads it back: where a lane stands is what its sink's store says.
        """

    def close(self) -> None:
        """Release connections; the object is not used afterwards."""


# --- sinks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capabilities:
    """What a sink can do; `apart`: it is an `Apart`, too; `forgets`: it is a `Forgetful`, too.

    With a `least_commit_interval` (seconds) a lane moves on its own, apart from the others: in
    micro-batches of up to `most_records` and `most_bytes`, and no sooner than that after the last
    one unless there is enough for a full one.
    """

    upsert: bool = True
    delete: bool = True
    atomic: bool = True
    least_commit_interval: float = 0.0
    most_records: int = 0
    most_bytes: int = 0
    apart: bool = False
    forgets: bool = False


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


class Apart(Sink, Protocol):
    """A sink for which other machines stage: on a cluster, where the rows are made.

    For each micro-batch that is staged so the owner calls `lay`, tasks call `stage_apart`, and the
    owner calls `commit` with the receipts that came back. `lay` and `stage_apart` are called on
    objects of their own, which were constructed only: not opened, and nothing is claimed; so the
    owner makes room for a micro-batch while it commits the one before.
    """

    def lay(self, batch: int, partition: int, epoch: int) -> str:
        """Make room for a micro-batch, after home opened it and before anybody stages for it.

        Args:
            batch: The open batch's id: grows, never comes again.
            partition: One of the batch's.
            epoch: Under which the owner holds this partition.

        Returns:
            What `stage_apart` needs to know of it: plain text.
        """

    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        """Bring rows to the store as `stage` does, from anywhere.

        Called by several tasks at once, each on an object of its own, and again by a task that is
        tried again or runs twice. What is never named in a commit is swept some day.

        Returns:
            A receipt whose token names exactly what this call staged.
        """


class Forgetful(Sink, Protocol):
    """A sink into a log of others: it removes rows by itself some day, and may be made anew."""

    def identity(self) -> str:
        """Return the id that changes when what is written to is made anew; it is open."""

    def forgotten(self) -> str:
        """Say why rows may be gone that were written; empty when none can be."""


SinkFactory = Callable[[], Sink]


# --- services ------------------------------------------------------------------------------------


class Service(Protocol):
    """A server that Penstock starts on this machine."""

    name: str

    def up(self) -> str:
        """Start it if it does not run, wait until it answers, return its URL. Idempotent."""

    def down(self) -> None:
        """Stop it cleanly; data survives. Nothing happens if it does not run."""
