"""What a plan is made of and what it gives: segments, lanes, micro-batches, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from penstock.interfaces import Framing
from penstock.records import Counts, Letter, Receipt, Span
from penstock.serdes.codec import PLAIN_JSON, Codec

if TYPE_CHECKING:
    from penstock.contract import ContractSpec
    from penstock.interfaces import Source
    from penstock.pipeline import Retention
    from penstock.plan.run import Plan
    from penstock.profile import EnvVar

REPLAY = -1
"""The partition under which a replay log's progress and counts are kept."""

LOG_STORE = "log"
"""The store name of lanes that write a topic."""

MICROSECONDS = pl.Datetime("us", "UTC")

BATCH_SCHEMA = pl.Schema(
    {
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": pl.Binary(),
        "born": MICROSECONDS,
        "order": pl.Int64(),
    }
)
"""Columns of a micro-batch's records: `LOG_COLUMNS` and the order stamp."""

ROW_SCHEMA = pl.Schema(
    {
        "_partition": pl.Int32(),
        "_offset": pl.Int64(),
        "_index": pl.Int64(),
        "_order": pl.Int64(),
        "_born": MICROSECONDS,
        "_deleted": pl.Boolean(),
    }
)
"""Types of `records.ROW_COLUMNS`, which follow the contract's columns in a lane's rows."""


def row_schema(spec: ContractSpec) -> pl.Schema:
    """Schema of a lane's rows: the contract's columns, then `ROW_COLUMNS`."""
    return pl.Schema({**spec.polars, **ROW_SCHEMA})


@dataclass(frozen=True)
class Lane:
    """A sink of a segment: a table of a store, or a topic of the log.

    Args:
        name: `table@store`, `topic@log`; unique in the segment. Segments that write one topic have
            a lane of the same name each.
        store: The store's name; `log` for a topic.
        table: Name of the table or topic, as the user wrote it.
        mode: `upsert` and `append` write a table, `topic` writes the log.
        spec: The contract of its rows.
        key: Key columns; empty for an append lane or a topic without a key.
        partitions: Of the topic; 1 for a table.
        retention: Of the topic; None keeps all.
        file: Where it was declared.
        line: Where it was declared.
        codec: Of the topic; what encodes its values.
        shared: Whether other segments write the topic, too.
    """

    name: str
    store: str
    table: str
    mode: Literal["upsert", "append", "topic"]
    spec: ContractSpec
    key: tuple[str, ...]
    partitions: int
    retention: Retention | None
    file: str
    line: int
    codec: Codec = field(default=PLAIN_JSON, repr=False, compare=False)
    shared: bool = False


@dataclass(frozen=True)
class Segment:
    """What lies between a log and the lanes that its records reach.

    Args:
        name: Name of the landing or topic that it reads.
        kind: Which of the two.
        spec: The contract of its records.
        framing: How records lie in a value.
        partitions: Of the log; None when others make the topic.
        key: Key columns of the topic; empty for a landing or a topic without a key.
        retention: Of the log; None keeps all.
        external: Whether others write the topic.
        lanes: Where the rows go.
        plan: The pure function from a micro-batch to an outcome.
        source: What a landing is filled from.
        codec: How values of the log hold records; plain JSON in a landing.
        encrypt: Where the keys are that a landing is encrypted with, the one that writes first.
    """

    name: str
    kind: Literal["landing", "topic"]
    spec: ContractSpec
    framing: Framing
    partitions: int | None
    key: tuple[str, ...]
    retention: Retention | None
    external: bool
    lanes: tuple[Lane, ...]
    plan: Plan = field(repr=False)
    source: Source | None = None
    codec: Codec = field(default=PLAIN_JSON, repr=False)
    encrypt: tuple[EnvVar, ...] = ()

    def lane(self, name: str) -> Lane:
        """Return a lane by name; `KeyError` when there is none."""
        return next(lane for lane in self.lanes if lane.name == name)


@dataclass(frozen=True)
class MicroBatch:
    """Records of a log with their order stamps, and the spans they were read from.

    A replay batch also has the columns `index` (Int64: only rows of this index; `WHOLE`: all),
    `lanes` (List(String): only to these lanes) and `at` (Int64: offset in the replay log). Its
    `partition` and `offset` are the original position; its `spans` are of the replay log, under
    the partition `REPLAY`, as are all counts.

    Args:
        spans: For each partition the offsets that were read.
        records: `BATCH_SCHEMA`, sorted by partition and offset.
    """

    spans: Mapping[int, Span]
    records: pl.DataFrame

    @property
    def replay(self) -> bool:
        """Whether these are dead letters that were sent back."""
        return "lanes" in self.records.columns

    def trim(self, starts: Mapping[int, int]) -> MicroBatch:
        """Drop what lies before the given offsets.

        Args:
            starts: Per partition the first offset to keep; partitions not named stay whole.
        """
        late = {
            p: min(starts[p], span.end)
            for p, span in self.spans.items()
            if starts.get(p, span.start) > span.start
        }
        if not late:
            return self
        partition, offset = (
            (pl.lit(REPLAY), "at") if self.replay else (pl.col("partition"), "offset")
        )
        keep = pl.lit(True)
        for number, start in late.items():
            keep &= (partition != number) | (pl.col(offset) >= start)
        spans = {p: Span(late.get(p, span.start), span.end) for p, span in self.spans.items()}
        return MicroBatch(spans, self.records.filter(keep))


@dataclass(frozen=True)
class LaneOutcome:
    """What a micro-batch gives to one lane.

    Args:
        rows: Contract columns, then `ROW_COLUMNS`, in the order of the log.
        counts: Per partition; without written, superseded and deleted, which the store counts.
            `records + expanded = filtered + deduplicated + dead + the number of rows`, those of
            the receipts included.
        receipts: What other machines have staged of it; those rows are not in `rows`.
        born: Of these rows, `_partition` and `_born`.
    """

    rows: pl.DataFrame
    counts: Mapping[int, Counts]
    receipts: Sequence[Receipt] = ()
    born: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass(frozen=True)
class Outcome:
    """What a micro-batch gives: rows and counts of each lane, and the dead letters."""

    lanes: Mapping[str, LaneOutcome]
    letters: Sequence[Letter]
