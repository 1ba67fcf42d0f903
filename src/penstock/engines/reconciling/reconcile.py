"""Proves that every record is accounted for: ledger, stores, dead letters, topics, rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from penstock.engines.feed import Feed
from penstock.engines.reconciling import chain
from penstock.engines.reconciling import deep as rows
from penstock.engines.reconciling.standing import Compared, Standing, Written
from penstock.home import deadletters, leases, ledger, orders
from penstock.home.replays import ReplayLog, log_id
from penstock.logs import staging
from penstock.plan import REPLAY
from penstock.records import Counts, LaneKey, Span

if TYPE_CHECKING:
    from penstock.engines.systems import Systems
    from penstock.home.database import Home
    from penstock.interfaces import Log, Sink
    from penstock.plan import Lane, Segment
    from penstock.records import Progress


@dataclass(frozen=True)
class LaneReport:
    """What was found of one lane.

    Args:
        segment: The log that it reads.
        lane: Its name.
        counts: Of all records so far, replays included.
        lag: Records of the log that it has not taken.
        rows: Rows that were compared one by one; None when they were not.
    """

    segment: str
    lane: str
    counts: Counts
    lag: int
    rows: int | None = None


@dataclass(frozen=True)
class Report:
    """What `reconcile` found.

    Args:
        lanes: Every lane of the program.
        differences: What does not balance, one sentence each; empty when all is well.
        notes: What could be checked by count only, and why.
    """

    lanes: tuple[LaneReport, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return not self.differences


@dataclass
class _Found:
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def reconcile(
    pipeline: str,
    segments: Sequence[Segment],
    systems: Systems,
    *,
    deep: bool = False,
    progress: Callable[[int], None] = lambda records: None,
) -> Report:
    """Prove the ledger of a pipeline; it may be running.

    The ledger is first brought up to what the stores have committed, as the next start would.

    Args:
        pipeline: The pipeline's name.
        segments: Its program, compiled.
        systems: Entered.
        deep: Whether to compare every row in the stores with the log, too.
        progress: Told how many more records a deep comparison has read.

    Raises:
        Unavailable: A system is away.
        LogChanged: A log is gone.
    """
    found = _Found()
    lanes: list[LaneReport] = []
    with systems.home("reconcile") as home:
        for segment in segments:
            lanes += _Segment(pipeline, segment, systems, home, found).reconcile(deep, progress)
        chained = chain.verify(pipeline, segments, systems, home, deep=deep)
        found.differences += chained.differences
        found.notes += chained.notes
        with home.transaction() as cursor:
            for one in deadletters.imbalances(cursor, pipeline):
                found.differences.append(
                    f"lane {one.key.lane}, partition {one.partition}: the ledger counts "
                    f"{one.ledger} dead, there are {one.letters} letters"
                )
    return Report(tuple(lanes), tuple(found.differences), tuple(found.notes))


class _Segment:
    def __init__(
        self, pipeline: str, segment: Segment, systems: Systems, home: Home, found: _Found
    ) -> None:
        self._pipeline = pipeline
        self._segment = segment
        self._systems = systems
        self._home = home
        self._found = found
        self._fingerprint = segment.plan.fingerprint

    def reconcile(self, deep: bool, progress: Callable[[int], None]) -> list[LaneReport]:
        with ExitStack() as stack:
            log = self._systems.log(self._segment)
            stack.callback(log.close)
            spans = log.spans()
            sinks = {}
            for lane in self._segment.lanes:
                key = LaneKey(self._pipeline, log.identity(), self._segment.name, lane.name)
                sinks[lane.name] = (key, self._systems.sink(lane, key))
                stack.callback(sinks[lane.name][1].close)
            stands = {name: sink.progress() for name, (_, sink) in sinks.items()}
            for name, (key, _) in sinks.items():
                self._ledger(key, stands[name])
            compared = self._deep(log, sinks, stands, progress) if deep else {}
            return [
                LaneReport(
                    self._segment.name,
                    name,
                    sum((one.totals for one in stood.values()), Counts()),
                    sum(max(0, s.end - _next(stood, p)) for p, s in spans.items()),
                    compared[name].rows if name in compared else None,
                )
                for name, stood in stands.items()
            ]

    def _ledger(self, key: LaneKey, stands: Mapping[int, Progress]) -> None:
        """Check a lane's ledger against itself and against what its store says."""
        keys = {p: _ledger_key(key, p) for p in stands}
        with self._home.transaction() as cursor:
            closings = [ledger.Closing(keys[p], p, one) for p, one in stands.items()]
            ledger.close(cursor, closings)
            entries = {p: ledger.entries(cursor, keys[p], p) for p in stands}
        for partition, progress in stands.items():
            for words in _wrong(entries[partition], progress):
                self._found.differences.append(
                    f"lane {key.lane}, partition {partition} of {key.segment}: {words}"
                )

    def _deep(
        self,
        log: Log,
        sinks: Mapping[str, tuple[LaneKey, Sink]],
        stands: Mapping[str, Mapping[int, Progress]],
        progress: Callable[[int], None],
    ) -> dict[str, Compared]:
        with ExitStack() as stack:
            written = {
                lane.name: self._written(lane, sinks[lane.name][0], stands[lane.name], stack)
                for lane in self._segment.lanes
                if lane.mode == "topic"
            }
            # All that the topics held by now was written before where the lanes stand by now.
            ends = {
                name: sinks[name][1].progress() if name in written else stood
                for name, stood in stands.items()
            }
            spans = log.spans()
            with self._home.transaction() as cursor:
                anew = chain.made_anew(cursor, self._pipeline, log.name, log.identity())
                bases = orders.bases(cursor, log.identity(), {p: s.end for p, s in spans.items()})
                held = bool(leases.holders(cursor, self._pipeline, self._segment.name))
            standings = [
                self._standing(
                    lane, sinks[lane.name], (stands[lane.name], ends[lane.name]), spans, held
                )
                for lane in self._comparable(anew)
            ]
            standings = [
                replace(one, anew=anew, written=written.get(one.lane.name)) for one in standings
            ]
            compared = self._compared(log, standings, bases, progress)
        for one in compared.values():
            self._found.differences += one.differences
            self._found.notes += one.notes
        return compared

    def _standing(
        self,
        lane: Lane,
        writes: tuple[LaneKey, Sink],
        stood: tuple[Mapping[int, Progress], Mapping[int, Progress]],
        spans: Mapping[int, Span],
        moving: bool,
    ) -> Standing:
        key, sink = writes
        before, now = stood
        return Standing(
            lane,
            sink,
            {p: one.next for p, one in now.items() if p in spans},
            dict(self._doubtful(lane, key, before, spans)),
            self._letters(key),
            self._other_replays(lane, key, before),
            moving,
        )

    def _compared(
        self,
        log: Log,
        standings: Sequence[Standing],
        bases: Mapping[int, int],
        progress: Callable[[int], None],
    ) -> dict[str, Compared]:
        if not standings:
            return {}
        replays = ReplayLog(self._home, self._pipeline, self._segment.name, log.identity())
        feed = Feed(log, replays, bases, self._segment.codec)
        return rows.compare(self._segment, feed, standings, bases, progress)

    def _written(
        self, lane: Lane, key: LaneKey, stood: Mapping[int, Progress], stack: ExitStack
    ) -> Written:
        topic = self._systems.topic(lane.table)
        stack.callback(topic.close)
        with self._home.transaction() as cursor:
            anew = chain.made_anew(cursor, self._pipeline, lane.table, topic.identity())
        return Written(
            topic,
            topic.spans(),
            {p: one.next for p, one in stood.items() if p != REPLAY},
            not anew and not self._systems.compacted(lane.table),
            staging.signed(key),
        )

    def _comparable(self, anew: bool) -> Iterator[Lane]:
        """The lanes whose rows can be told from those of a log before."""
        for lane in self._segment.lanes:
            if anew and lane.mode == "append":
                self._found.notes.append(
                    f"lane {lane.name}: its log was made anew, and rows from before have the "
                    "positions of records that are there now; its rows are not compared"
                )
            else:
                yield lane

    def _doubtful(
        self,
        lane: Lane,
        key: LaneKey,
        stands: Mapping[int, Progress],
        spans: Mapping[int, Span],
    ) -> Iterator[tuple[int, list[Span]]]:
        """Spans that the log has no more, or that other code wrote: these are counted only."""
        for partition in stands:
            if partition == REPLAY:
                continue
            gone = spans[partition].start
            with self._home.transaction() as cursor:
                entries = ledger.entries(cursor, key, partition)
            other = [e for e in entries if e.plan != self._fingerprint and e.span.end > gone]
            doubtful = [e.span for e in other]
            if gone:
                doubtful.insert(0, Span(0, gone))
                self._found.notes.append(
                    f"lane {lane.name}, partition {partition}: retention took the log before "
                    f"offset {gone}; rows from there are checked by count only"
                )
            if other:
                self._found.notes.append(
                    f"lane {lane.name}, partition {partition}: offsets {other[0].span.start} to "
                    f"{other[-1].span.end} were written by an earlier version of the program, at "
                    f"least in part; these {len(other)} ledger entries are checked by count only"
                )
            if doubtful:
                yield partition, doubtful

    def _other_replays(self, lane: Lane, key: LaneKey, stands: Mapping[int, Progress]) -> bool:
        """Whether dead letters were replayed by other code than the program has now."""
        if REPLAY not in stands:
            return False
        with self._home.transaction() as cursor:
            entries = ledger.entries(cursor, _ledger_key(key, REPLAY), REPLAY)
        other = any(entry.plan != self._fingerprint for entry in entries)
        if other:
            self._found.notes.append(
                f"lane {lane.name}: some dead letters were replayed by an earlier version of the "
                "program; the values of all replayed records are not compared"
            )
        return other

    def _letters(self, key: LaneKey) -> pl.DataFrame:
        schema = {
            "partition": pl.Int32,
            "offset": pl.Int64,
            "index": pl.Int64,
            "state": pl.String,
            "stage": pl.String,
            "rule": pl.String,
        }
        with self._home.transaction() as cursor:
            cursor.execute(
                'SELECT partition, "offset", index, state, stage, rule FROM penstock.dead_letters'
                " WHERE (pipeline, segment, lane) = (%s, %s, %s) AND log_id IN (%s, %s)",
                [key.pipeline, key.segment, key.lane, key.log_id, log_id(key.log_id)],
            )
            return pl.DataFrame(cursor.fetchall(), schema=schema, orient="row")


def _ledger_key(key: LaneKey, partition: int) -> LaneKey:
    if partition != REPLAY:
        return key
    return LaneKey(key.pipeline, log_id(key.log_id), key.segment, key.lane)


def _next(stands: Mapping[int, Progress], partition: int) -> int:
    return stands[partition].next if partition in stands else 0


def _wrong(entries: Sequence[ledger.Entry], progress: Progress) -> Iterator[str]:
    """Say what is wrong with a partition's ledger up to where the store stands."""
    end, sums = 0, Counts()
    for entry in entries:
        if entry.span.end > progress.next:
            break  # the lane has moved on since its store was asked
        if entry.span.start != end:
            yield f"the ledger has a gap or an overlap between offsets {end} and {entry.span.start}"
            return
        if not entry.balanced:
            yield f"offsets {entry.span.start} to {entry.span.end} do not balance: {entry.counts}"
            return
        end, sums = entry.span.end, sums + entry.counts
    if end != progress.next:
        yield f"the ledger ends at offset {end}, the store stands at {progress.next}"
    elif sums != progress.totals:
        yield f"the ledger counts {sums}, the store {progress.totals}"
