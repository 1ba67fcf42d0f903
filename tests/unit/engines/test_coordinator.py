"""The coordinator: crash and resume as values, with logs and stores in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
import pytest

import penstock as ps
from penstock import plan, testing
from penstock.engines.books import Books, Moved
from penstock.engines.coordinator import Coordinator
from penstock.engines.feed import Feed
from penstock.engines.lanes import LanesDown, LaneWriter, claim_all, least
from penstock.engines.planning import Planning
from penstock.engines.supply import Planned
from penstock.errors import Fenced, Refused, Unavailable
from penstock.home.batches import OpenBatch
from penstock.plan import Lane, MicroBatch, Segment
from penstock.records import Counts, LaneKey, Letter, Limits, Progress, Receipt, Span, Step
from penstock.serdes.codec import PLAIN_JSON
from penstock.testing import MemoryLog, MemorySink, MemoryStore


class MemoryBooks(Books):
    """Keeps open batches, letters and the ledger's tails in dicts."""

    def __init__(self) -> None:
        self.batches: dict[int, OpenBatch] = {}
        self.dead: dict[tuple[int, str], list[Letter]] = {}
        self.tails: dict[tuple[str, int], Progress] = {}
        self.opened = 0

    def open(self, spans: Mapping[int, Span], lanes: Sequence[str], plan: str) -> OpenBatch:
        self.opened += 1
        epochs = dict.fromkeys(spans, 1)
        batch = OpenBatch("p", "s", "log", tuple(lanes), spans, epochs, plan, id=self.opened)
        self.batches[batch.id] = batch
        return batch

    def pending(self) -> list[OpenBatch]:
        return list(self.batches.values())

    def adopt(self, batch: OpenBatch) -> OpenBatch:
        adopted = replace(batch, attempts=batch.attempts + 1)
        self.batches[batch.id] = adopted
        return adopted

    def record(
        self,
        batch: OpenBatch,
        lanes: Collection[str],
        dead: Sequence[Letter],
        records: pl.DataFrame,
    ) -> None:
        for lane in lanes:
            self.dead[batch.id, lane] = [letter for letter in dead if lane in letter.lanes]

    def enter(self, moved: Sequence[Moved], holds_rows: object = None) -> None:
        for step in moved:
            self.tails[step.lane, step.partition] = step.progress

    def close(self, batch: OpenBatch, moved: Sequence[Moved], lanes: Collection[str]) -> None:
        self.enter(moved)
        found = self.batches.get(batch.id)
        if found is None:
            return
        left = tuple(lane for lane in found.lanes if lane not in lanes)
        if left:
            self.batches[batch.id] = replace(found, lanes=left)
        else:
            del self.batches[batch.id]

    def totals(self, lane: str) -> Counts:
        return sum((p.totals for (name, _), p in self.tails.items() if name == lane), Counts())


class Crash(BaseException):
    """The process is gone."""


class Item(ps.Contract):
    id: int = ps.key()
    name: str


def declared(limit: int = 100) -> Segment:
    pipeline = ps.Pipeline("p")
    items = pipeline.topic("items", Item)
    good = items.map(lambda rows: rows.filter(pl.lit(True)), Item)
    good.sink("a", store="one")
    good.filter(pl.col("id") < limit).sink("b", store="two", mode="append")
    return plan.compile(pipeline)[0]


class NoReplays:
    """A replay log with nothing in it."""

    def end(self) -> int:
        return 0


@dataclass
class World:
    """What outlives a crash: a log, two stores and home's books."""

    segment: Segment = field(default_factory=declared)
    log: MemoryLog = field(default_factory=lambda: MemoryLog("items", 2))
    books: MemoryBooks = field(default_factory=MemoryBooks)
    stores: dict[str, MemoryStore] = field(
        default_factory=lambda: {"one": MemoryStore(), "two": MemoryStore()}
    )
    sink: type[MemorySink] = MemorySink
    epoch: int = 0
    writers: list[LaneWriter] = field(default_factory=list)

    def put(self, *ids: int) -> None:
        values = [f'{{"id": {i}, "name": "n{i}"}}'.encode() for i in ids]
        keys = [str(i).encode() for i in ids]
        self.log.append(pl.DataFrame({"key": keys, "value": values}))

    def writer(self, lane: Lane) -> LaneWriter:
        key = LaneKey("p", self.log.identity(), "items", lane.name)
        return LaneWriter(lane.name, lambda: self.sink(self.stores[lane.store], lane, key))

    def start(self) -> Process:
        """A new process claims the partitions and recovers."""
        for writer in self.writers:
            writer.close()
        self.epoch += 1
        self.writers = [self.writer(lane) for lane in self.segment.lanes]
        down = claim_all(self.writers, dict.fromkeys(self.log.spans(), self.epoch))
        up = [writer for writer in self.writers if writer.name not in down]
        process = Process(self, up)
        process.coordinator.recover(process.feed, process.planning)
        return process

    def table(self, store: str) -> list[int]:
        table = next(iter(self.stores[store].tables.values()))
        rows = [*table.by_key.values(), *table.rows]
        return sorted(row["id"] for row in rows)


class Process:
    """One life of an engine."""

    def __init__(self, world: World, writers: list[LaneWriter]) -> None:
        bases = dict.fromkeys(world.log.spans(), 0)
        self.world = world
        self.writers = writers
        self.feed = Feed(world.log, NoReplays(), bases, PLAIN_JSON)  # type: ignore[arg-type]
        self.planning = Planning(world.segment)
        self.coordinator = Coordinator(world.books, writers, self.planning.fingerprint)

    def step(self, records: int = 100) -> MicroBatch | None:
        """Move one micro-batch."""
        starts = {writer.name: writer.starts for writer in self.writers}
        micro = self.feed.read(least(self.writers), Limits(records, 1 << 20))
        if micro is None:
            return None
        batch = self.world.books.open(micro.spans, list(starts), self.planning.fingerprint)
        self.coordinator.write(Planned.here(batch, micro, self.planning(micro, batch, starts)))
        return micro

    def drain(self) -> None:
        while self.step() is not None:
            pass


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for writer in made.writers:
        writer.close()


def check(world: World, ids: list[int]) -> None:
    assert world.table("one") == ids
    assert world.table("two") == ids
    assert world.books.batches == {}
    for lane in world.segment.lanes:
        totals = world.books.totals(lane.name)
        assert totals.balanced
        assert totals.records == len(ids)


def test_records_reach_every_lane_and_the_ledger(world: World) -> None:
    world.put(1, 2, 3)
    world.start().drain()
    check(world, [1, 2, 3])


@pytest.mark.parametrize(
    "point", ["staging", "copying", "staged", "committing", "between-sinks", "committed", "closed"]
)
def test_a_crash_at_any_point_loses_and_doubles_nothing(world: World, point: str) -> None:
    world.put(*range(6))
    process = world.start()
    process.step(records=2)
    with testing.at(point, raise_=Crash), pytest.raises(Crash):
        process.step(records=2)
    world.start().drain()
    check(world, list(range(6)))


def test_after_a_crash_a_batch_runs_again_with_its_bounds(world: World) -> None:
    world.put(1, 2)
    process = world.start()
    with testing.at("committing", raise_=Crash), pytest.raises(Crash):
        process.step()
    opened = dict(world.books.batches[1].spans)
    world.put(*range(10, 30))
    process = world.start()
    stands = least(process.writers)
    assert stands == {p: opened[p].end if p in opened else 0 for p in stands}


def test_a_crash_before_the_ledger_is_made_good_by_the_next_start(world: World) -> None:
    world.put(1, 2, 3)
    process = world.start()
    with testing.at("committed", raise_=Crash), pytest.raises(Crash):
        process.step()
    assert world.books.totals("a@one").records == 0
    world.start()
    check(world, [1, 2, 3])


def test_a_store_that_is_away_does_not_stop_the_other_lane(world: World) -> None:
    world.put(1, 2, 3)
    process = world.start()
    world.stores["two"].away = True
    with pytest.raises(LanesDown) as down:
        process.step()
    assert list(down.value.errors) == ["b@two"]
    assert world.table("one") == [1, 2, 3]
    assert [batch.lanes for batch in world.books.batches.values()] == [("b@two",)]
    world.stores["two"].away = False
    world.start().drain()
    check(world, [1, 2, 3])


def test_rejected_rows_become_letters_of_their_lane_only(world: World) -> None:
    world.put(1, 2, 3)
    world.stores["one"].refuses = pl.col("id") == 2
    process = world.start()
    process.drain()
    assert world.table("one") == [1, 3]
    assert world.table("two") == [1, 2, 3]
    letters = [x for letters in world.books.dead.values() for x in letters]
    assert {(x.lanes, x.cause.stage) for x in letters} == {(("a@one",), "store")}
    totals = world.books.totals("a@one")
    assert (totals.written, totals.dead, totals.balanced) == (2, 1, True)


def test_a_predecessor_is_fenced_and_writes_nothing(world: World) -> None:
    world.put(1, 2)
    before = world.start()
    writers, world.writers = world.writers, []
    after = world.start()
    with pytest.raises(Fenced):
        before.step()
    after.drain()
    for writer in writers:
        writer.close()
    assert world.table("one") == [1, 2]


def test_a_lane_ahead_is_trimmed(world: World) -> None:
    world.put(*range(8))
    process = world.start()
    process.step(records=2)
    ahead = Process(world, world.writers[:1])
    ahead.drain()
    world.start().drain()
    check(world, list(range(8)))


def test_without_trimming_the_ledger_does_not_balance(world: World) -> None:
    world.put(*range(8))
    process = world.start()
    with testing.at("between-sinks", raise_=Crash), pytest.raises(Crash):
        process.step()
    with testing.without("trimming"):
        world.start().drain()
    totals = [world.books.totals(lane.name).records for lane in world.segment.lanes]
    assert totals != [8, 8]


def test_a_new_lane_on_an_aged_log_counts_what_is_gone_as_absent() -> None:
    world = World(log=MemoryLog("items", 1))
    world.put(*range(10))
    world.log.drop(0, 4)
    process = world.start()
    for writer in world.writers:
        writer.oldest = process.feed.oldest()
    process.drain()
    totals = world.books.totals("a@one")
    assert (totals.records, totals.absent, totals.balanced) == (6, 4, True)
    for writer in world.writers:
        writer.close()


def test_a_batch_behind_a_gap_is_refused(world: World) -> None:
    world.put(*range(10))
    process = world.start()
    process.step(records=2)
    micro = process.feed.read(least(world.writers), Limits(2, 1 << 20))
    assert micro is not None
    process.drain()
    for writer in world.writers:
        for partition, progress in writer.progress.items():
            writer.progress[partition] = type(progress)(1, progress.epoch, progress.totals)
    starts = {writer.name: writer.starts for writer in world.writers}
    batch = world.books.open(micro.spans, list(starts), "")
    if any(span.start > 1 for span in micro.spans.values()):
        with pytest.raises(LanesDown, match="would be lost") as down:
            process.coordinator.write(
                Planned.here(batch, micro, process.planning(micro, batch, starts))
            )
        assert [type(error) for error in down.value.errors.values()] == [Refused, Refused]


class HalfTheWay(MemorySink):
    """Commits each partition on its own, as Kafka does; loses its connection once, after one."""

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        if len(steps) == 1 or vars(self._store).setdefault("lost", False):
            return super().commit(receipts, steps)
        vars(self._store)["lost"] = True
        first = min(steps)
        self._staged = [pl.concat(self._staged).filter(pl.col("_partition") == first)]
        super().commit([Receipt({first: self._staged[0].height})], {first: steps[first]})
        raise Unavailable("the connection is lost")


def test_a_commit_that_went_half_the_way_is_finished() -> None:
    world = World(sink=HalfTheWay)
    world.put(*range(20))
    world.start().drain()
    assert all(vars(store)["lost"] for store in world.stores.values())
    check(world, list(range(20)))
    for writer in world.writers:
        writer.close()
