"""Running a pipeline, or one stream of it, in this process on given records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from penstock.contract import Contract, decode, encode_key, spec, synthetic
from penstock.contract.delimited import document
from penstock.errors import PlanFailed
from penstock.interfaces import Response
from penstock.pipeline import Pipeline, Stream
from penstock.pipeline.graph import Node, SinkNode, TopicNode, log_of
from penstock.plan import Lane, MicroBatch, Outcome, Segment, compile, rowwise
from penstock.plan.compile import segments_of, writes
from penstock.records import Cause, Counts, LaneKey, Position, Step
from penstock.site import caller
from penstock.testing.clock import START
from penstock.testing.memory_log import MemoryLog
from penstock.testing.memory_sink import MemorySink, MemoryStore, MemoryTopicSink
from penstock.transforms import Map

_STREAM = "stream"


@dataclass(frozen=True)
class Deleted:
    """A record without a value: see `delete`."""

    key: Mapping[str, Any]


Record = Mapping[str, Any] | bytes | str | Response | Deleted
"""What can be given to `run`: a record as a dict, or the bytes of a response or of a log record."""

Records = Sequence[Record]


@dataclass(frozen=True)
class DeadLetter:
    """A record that did not pass.

    Args:
        log: The landing or topic that it was read from.
        position: Where in this log.
        lanes: The lanes that it is dead for.
        cause: Why.
        value: The bytes of the log record; None for a delete. Of masked fields nothing is in it.
    """

    log: str
    position: Position
    lanes: tuple[str, ...]
    cause: Cause
    value: bytes | None


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Args:
        frames: The rows of each lane in the end, by lane name.
        letters: The dead letters, in the order of the flow.
        counts: What became of the records, by lane name.
    """

    frames: Mapping[str, pl.DataFrame]
    letters: Sequence[DeadLetter]
    counts: Mapping[str, Counts]

    def frame(self, lane: str = _STREAM) -> pl.DataFrame:
        """Return a lane's rows.

        Args:
            lane: `table@store` or `topic@log`, or only the part before `@` when it is unique.
                Not needed after a run of a stream.

        Raises:
            KeyError: There is no such lane, or more than one.
        """
        return self.frames[self._name(lane)]

    def __getitem__(self, lane: str) -> list[dict[str, Any]]:
        """Return a lane's rows as dicts; see `frame`."""
        return self.frame(lane).to_dicts()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the stream that was run."""
        return self[_STREAM]

    def count(self, lane: str = _STREAM) -> Counts:
        """Return a lane's counts; see `frame`."""
        return self.counts[self._name(lane)]

    def _name(self, lane: str) -> str:
        found = [name for name in self.frames if lane in (name, name.rpartition("@")[0])]
        if len(found) != 1:
            known = ", ".join(self.frames)
            raise KeyError(f"{len(found)} lanes are called {lane!r}; there are {known}")
        return found[0]


def run(
    target: Pipeline | Stream,
    records: Records | Mapping[str, Records],
    *,
    born: datetime = START,
) -> Result:
    """Run a pipeline, or the part of it that a stream comes from, on records; no I/O.

    It is the plan that engines run, with logs and stores in memory; each map and filter is also
    checked to be row-wise.

    Args:
        target: What to run.
        records: The records of the one source or topic that the pipeline begins with, or for
            each its own, by the name of the landing or topic. A dict is one record; bytes and str
            are a whole response (at a source) or value (at a topic); `delete(...)` is a delete.
        born: When all records were first seen.

    Raises:
        DeclarationError: The program is wrong.
        PlanFailed: A map is at fault, or is not row-wise.

    Example:
        result = testing.run(pipeline, [{"name": "Ada", "age": 36}])
        assert result["people"] == [{"name": "ADA", "age": 36}]
    """
    segments = compile(target) if isinstance(target, Pipeline) else _of_stream(target)
    return _Run(segments, _by_log(segments, records), born).result()


def delete(**key: object) -> Deleted:
    """Make a delete for a keyed topic: `delete(id="7")`."""
    return Deleted(key)


def check_map(
    fn: Callable[[pl.DataFrame], pl.DataFrame],
    before: type[Contract],
    after: type[Contract],
    rows: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Check that a map is row-wise and gives what its contract says; return what it gives.

    Args:
        fn: The map.
        before: The contract of its rows.
        after: The contract of its results.
        rows: What to run it on; None makes rows up.

    Raises:
        PlanFailed: It is not row-wise, or the code is at fault.
        DeclarationError: It is no map.

    Example:
        testing.check_map(to_user, Person, User)
    """
    step = Map(caller(), spec(before), spec(after), fn)
    given = synthetic(step.input, 100) if rows is None else rows
    if found := rowwise.difference(step, given):
        raise PlanFailed(found)
    return step.compute(given)


@dataclass
class _Run:
    """One run: logs and stores in memory, filled segment by segment."""

    segments: Sequence[Segment]
    records: Mapping[str, Records]
    born: datetime

    def __post_init__(self) -> None:
        self.logs = {s.name: MemoryLog(s.name, s.partitions or 1) for s in self.segments}
        self.stores: dict[str, MemoryStore] = {}
        self.frames: dict[str, pl.DataFrame] = {}
        self.counts: dict[str, Counts] = {}
        self.letters: list[DeadLetter] = []

    def result(self) -> Result:
        for segment in self.segments:
            given = [_record(segment, record) for record in self.records.get(segment.name, ())]
            if given:
                frame = pl.DataFrame(given, {"key": pl.Binary, "value": pl.Binary}, orient="row")
                self.logs[segment.name].append(frame, born=self.born)
            self._run(segment)
        return Result(self.frames, self.letters, self.counts)

    def _run(self, segment: Segment) -> None:
        log = self.logs[segment.name]
        read = log.reread(log.spans())
        batch = MicroBatch(read.spans, read.records.with_columns(order=pl.col("offset")))
        segment.plan.rowwise(batch)
        outcome = segment.plan.run(batch, [lane.name for lane in segment.lanes])
        self._keep_letters(segment, batch, outcome)
        for lane in segment.lanes:
            self._write(segment, lane, batch, outcome)

    def _write(self, segment: Segment, lane: Lane, batch: MicroBatch, outcome: Outcome) -> None:
        sink = self._sink(segment, lane)
        sink.open()
        before = sink.claim(dict.fromkeys(batch.spans, 1))
        rows, counts = outcome.lanes[lane.name].rows, outcome.lanes[lane.name].counts
        receipt = sink.stage(rows)
        steps = {
            p: Step(before[p], replace(before[p], next=span.end, totals=counts[p]))
            for p, span in batch.spans.items()
        }
        moved = sink.commit([receipt], steps)
        before_it = self.counts.get(lane.name, Counts())  # of others that write the same topic
        self.counts[lane.name] = sum((p.totals for p in moved.values()), before_it)
        shown = rows.filter(~pl.col("_deleted")) if lane.mode == "topic" else sink.frame()
        frame = shown.select(lane.spec.polars.names())
        there = self.frames.get(lane.name, frame.clear())
        self.frames[lane.name] = pl.concat([there, frame])

    def _sink(self, segment: Segment, lane: Lane) -> MemorySink:
        store = self.stores.setdefault(lane.store, MemoryStore())
        key = LaneKey("testing", segment.name, segment.name, lane.name)
        if lane.mode == "topic":
            log = self.logs.get(lane.table) or MemoryLog(lane.table, lane.partitions)
            return MemoryTopicSink(store, lane, key, log)
        return store.sink(lane, key)

    def _keep_letters(self, segment: Segment, batch: MicroBatch, outcome: Outcome) -> None:
        if not outcome.letters:
            return
        kept = segment.plan.withhold(batch.records)
        columns = kept.select("partition", "offset", "value")
        values = {(p, o): value for p, o, value in columns.iter_rows()}
        for letter in outcome.letters:
            at = letter.position
            value = values[at.partition, at.offset]
            self.letters.append(DeadLetter(segment.name, at, letter.lanes, letter.cause, value))


def _of_stream(stream: Stream) -> tuple[Segment, ...]:
    """Compile a stream as if a table were at its end."""
    node = stream.node
    end = SinkNode(node.rows, node.key, node.site, node, _STREAM, "testing", "append")
    above = (write for topic in _topics_above(node) for write in writes(topic))
    return segments_of(stream.pipeline.logs, [*above, end])


def _topics_above(node: Node) -> dict[TopicNode, None]:
    """The topics that a stream's rows come through, each once."""
    log = log_of(node)
    if not isinstance(log, TopicNode):
        return {}
    found: dict[TopicNode, None] = {log: None}
    for parent in log.parents:
        found |= _topics_above(parent)
    return found


def _by_log(
    segments: Sequence[Segment], records: Records | Mapping[str, Records]
) -> Mapping[str, Records]:
    names = [segment.name for segment in segments]
    if isinstance(records, Mapping):
        if unknown := sorted(records.keys() - set(names)):
            raise ValueError(f"nothing reads {unknown[0]!r}; records can be given to {names}")
        return records
    written = {lane.table for s in segments for lane in s.lanes if lane.mode == "topic"}
    first = [name for name in names if name not in written]
    if len(first) != 1:
        raise ValueError(f"say where the records go, as a dict by name; there are {first}")
    return {first[0]: records}


def _record(segment: Segment, record: Record) -> tuple[bytes | None, bytes | None]:
    """Key and value of the log record."""
    if isinstance(record, Deleted) and segment.framing.changes:
        return None, msgspec.json.encode({"op": "delete", "key": record.key})
    if isinstance(record, Deleted):
        keys = pl.DataFrame([record.key], schema=segment.spec.only(segment.key).polars)
        return encode_key(segment.spec, segment.key, keys)[0], None
    if isinstance(record, Response):
        return None, record.body
    if isinstance(record, Mapping) and segment.framing.delimiter:
        value = document(record, segment.framing)
    elif isinstance(record, Mapping):
        value = msgspec.json.encode(_framed(segment, record))
    else:
        value = record.encode() if isinstance(record, str) else record
    if not segment.key:
        return None, value
    rows = decode(segment.spec, pl.Series([value], dtype=pl.Binary)).rows
    return (encode_key(segment.spec, segment.key, rows)[0] if rows.height else None), value


def _framed(segment: Segment, record: Mapping[str, Any]) -> object:
    framing = segment.framing
    if framing.changes:
        names = [field.json_name for field in segment.spec.only(segment.spec.key).fields]
        key = {name: record[name] for name in names if name in record}
        return {"op": "insert", "key": key, "after": record}
    value: object = [record] if framing.many and not framing.lines else record
    for name in reversed(framing.path):
        value = {name: value}
    return value
