"""Whatever crashes between the steps of a micro-batch: letters and ledger balance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live.home.work import BROKEN, ME, Work, records

from penstock.home import batches, deadletters, ledger, letters, replays
from penstock.home.batches import OpenBatch
from penstock.home.database import Cursor, Home
from penstock.home.deadletters import Selection
from penstock.home.replays import ReplayLog
from penstock.plan.model import REPLAY
from penstock.records import Counts, LaneKey, Letter, Limits, Position, Progress, Span

LANES = ("a@one", "b@two")
LOGS = {0: "log-1", REPLAY: "replay:log-1"}
CRASHES = ("none", "opened", "recorded", "one committed", "all committed")
Bad = frozenset[tuple[str, int]]

bad_rows = st.frozensets(st.tuples(st.sampled_from(LANES), st.integers(0, 30)), max_size=12)
runs = st.tuples(st.just("run"), st.integers(1, 10), bad_rows, st.sampled_from(CRASHES))
replayed = st.tuples(st.just("replay"), st.integers(1, 10), bad_rows, st.sampled_from(CRASHES))
discards = st.tuples(st.just("discard"), st.just(0), bad_rows, st.just("none"))


@dataclass
class Pipeline:
    """Two sinks that keep their progress, and an engine that dies where it is told to."""

    home: Home
    work: Work = field(default_factory=Work)
    stores: dict[tuple[str, int], Progress] = field(default_factory=dict)
    missed: set[tuple[str, int]] = field(default_factory=set)

    def start(self, cursor: Cursor, bad: Bad) -> None:
        """Take over from a dead process: align the ledger, finish what is open."""
        self.work.take(cursor)
        ledger.align(cursor, [self.closing(lane, p) for lane in LANES for p in LOGS])
        for found in batches.open_batches(cursor, ME.pipeline, ME.segment):
            batch = batches.adopt(cursor, found, self.work.epochs)
            (partition,) = batch.spans
            ends = batch.spans[partition].end
            owing = [lane for lane in batch.lanes if self.at(lane, partition).next < ends]
            self.finish(cursor, batch, owing, bad, "none")

    def at(self, lane: str, partition: int) -> Progress:
        return self.stores.get((lane, partition), Progress(0, 0))

    def closing(self, lane: str, partition: int) -> ledger.Closing:
        key = LaneKey(ME.pipeline, LOGS[partition], ME.segment, lane)
        return ledger.Closing(key, partition, self.at(lane, partition))

    def run(self, cursor: Cursor, partition: int, size: int, bad: Bad, crash: str) -> None:
        start = self.at(LANES[0], partition).next
        if partition == REPLAY:
            log = ReplayLog(self.home, ME.pipeline, ME.segment, "log-1")
            (span,) = log.read(start, Limits(size, 10**6)).spans.values()
        else:
            span = Span(start, start + size)
        if len(span):
            batch = self.work.open(cursor, {partition: span}, *LANES)
            self.finish(cursor, batch, LANES, bad, crash)

    def finish(
        self, cursor: Cursor, batch: OpenBatch, lanes: Iterable[str], bad: Bad, crash: str
    ) -> None:
        if crash == "opened":
            return
        frame = self.frame(batch)
        found = {lane: self.letters(frame, lane, bad) for lane in lanes}
        everything = [letter for mine in found.values() for letter in mine]
        if everything or batch.attempts > 1:
            letters.record(cursor, batch, list(found), everything, frame)
        for number, (lane, mine) in enumerate(found.items()):
            if crash == "recorded" or (crash == "one committed" and number):
                return
            self.commit(batch, lane, frame, mine)
        if crash != "all committed":
            ledger.close(cursor, [self.closing(lane, p) for lane in LANES for p in batch.spans])
            batches.finish(cursor, batch, batch.lanes)

    def frame(self, batch: OpenBatch) -> pl.DataFrame:
        ((partition, span),) = batch.spans.items()
        if partition == REPLAY:
            log = ReplayLog(self.home, ME.pipeline, ME.segment, "log-1")
            return log.reread(span).records
        return records(range(span.start, span.end))

    def letters(self, frame: pl.DataFrame, lane: str, bad: Bad) -> list[Letter]:
        mine = frame
        if "lanes" in frame.columns:
            mine = frame.filter(pl.col("lanes").list.contains(lane))
        return [
            Letter(Position(0, offset, 0), (lane,), BROKEN)
            for offset in mine["offset"]
            if (lane, offset) in bad
        ]

    def commit(self, batch: OpenBatch, lane: str, frame: pl.DataFrame, dead: list[Letter]) -> None:
        ((partition, span),) = batch.spans.items()
        before = self.at(lane, partition)
        done = Counts(records=len(span), written=len(span) - len(dead), dead=len(dead))
        after = Progress(span.end, batch.epochs[partition], before.totals + done)
        self.stores[lane, partition] = after
        sent = "lanes" in frame.columns
        rows = frame.filter(pl.col("lanes").list.contains(lane)) if sent else frame
        self.missed -= {(lane, offset) for offset in rows["offset"]}
        self.missed |= {(lane, letter.position.offset) for letter in dead}


def dead(cursor: Cursor, *states: str) -> dict[tuple[str, int], int]:
    lines = deadletters.find(cursor, Selection("users"), states=states, most=1_000)
    return {(line.lane, line.position.offset): line.id for line in lines}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(runs, runs, replayed, discards), max_size=10), bad_rows)
def test_letters_and_ledger_balance(
    home: Home, steps: list[tuple[str, int, Bad, str]], last: Bad
) -> None:
    with home.transaction() as cursor:
        cursor.execute(
            "TRUNCATE penstock.batches, penstock.letters, penstock.payloads, penstock.replays,"
            " penstock.tails, penstock.ledger, penstock.lanes CASCADE"
        )
        world = Pipeline(home)
        given_up: set[tuple[str, int]] = set()
        world.start(cursor, frozenset())
        for what, size, bad, crash in steps:
            if what == "discard":
                chosen = [number for row, number in dead(cursor, "dead").items() if row in bad]
                deadletters.discard(
                    cursor, Selection("users", letters=chosen), reason="test", by="test"
                )
                given_up |= set(bad) & set(dead(cursor, "discarded"))
            else:
                if what == "replay":
                    replays.replay(cursor, Selection("users"), by="test")
                world.run(cursor, REPLAY if what == "replay" else 0, size, bad, crash)
            world.start(cursor, last)
            assert deadletters.imbalances(cursor, "users") == []
            assert batches.open_batches(cursor, "users", "clicks") == []
            assert set(dead(cursor, "dead", "replaying")) == world.missed - given_up
            assert dead(cursor, "pending") == {}
