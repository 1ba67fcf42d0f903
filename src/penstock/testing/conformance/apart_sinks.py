"""What a sink must do for which other machines stage, as pytest classes to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import cast

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from penstock.errors import PenstockError, Refused, Rejected, Unavailable
from penstock.interfaces import Apart
from penstock.plan import REPLAY, Lane
from penstock.records import Counts, LaneKey, Receipt
from penstock.testing.conformance.sink_store import THREE, SinkStore, lane_of, open_sink, seen
from penstock.testing.conformance.subjects import (
    HOSTILE,
    KEY,
    Everything,
    Person,
    deleted,
    everything,
    lane,
    people,
    rows,
    steps,
)


def owner(store: SinkStore) -> Apart:
    """Make a sink and open it."""
    return cast("Apart", open_sink(store))


def elsewhere(store: SinkStore, made_for: Lane | None = None, key: LaneKey = KEY) -> Apart:
    """Make a sink as a task does that only stages."""
    return cast("Apart", store.sink(made_for or lane_of(store), key))


class ApartSinkConformance:
    """What a sink must do whose capabilities say `apart`."""

    def test_apart_is_invisible_before_the_commit(self, store: SinkStore) -> None:
        made = owner(store)
        made.claim({0: 1})
        receipt = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE))
        assert receipt.rows == {0: 3}
        assert receipt.token
        assert store.writes_at_once or seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0

    def test_several_stage_apart_at_once(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1, 1: 1})
        place = elsewhere(store).lay(1, 0, 1)
        parts = [
            rows(people(*((100 * n + i, f"{n}-{i}@x", i) for i in range(50))), partition=n % 2)
            for n in range(4)
        ]
        with ThreadPoolExecutor(4) as tasks:
            receipts = list(
                tasks.map(lambda part: elsewhere(store).stage_apart(place, part), parts)
            )
        stands = made.commit(receipts, steps(before, {0: 50, 1: 50}))
        names = THREE.columns
        assert_frame_equal(seen(store), pl.concat(parts).select(names).sort("id"))
        assert {p: s.totals.written for p, s in stands.items()} == {0: 100, 1: 100}

    def test_only_what_receipts_name_is_committed(self, store: SinkStore) -> None:
        made, task = owner(store), elsewhere(store)
        before = made.claim({0: 1})
        place = elsewhere(store).lay(1, 0, 1)
        named = task.stage_apart(place, rows(THREE))
        twice = THREE if store.writes_at_once else people((1, "other@x", 1), (9, None, 9))
        task.stage_apart(place, rows(twice))
        elsewhere(store).stage_apart(place, rows(THREE))
        stands = made.commit([named], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE)
        assert stands[0].totals == Counts(records=3, written=3)

    def test_a_task_that_comes_too_late_disturbs_nobody(self, store: SinkStore) -> None:
        made, late = owner(store), elsewhere(store)
        stands = made.claim({0: 1})
        place = elsewhere(store).lay(1, 0, 1)
        stands = made.commit([late.stage_apart(place, rows(THREE))], steps(stands, {0: 3}))
        with suppress(Unavailable):
            late.stage_apart(place, rows(THREE))
        more = people((4, "d@x", 4))
        receipt = elsewhere(store).stage_apart(elsewhere(store).lay(2, 0, 1), rows(more, start=3))
        stands = made.commit([receipt], steps(stands, {0: 4}))
        assert_frame_equal(seen(store), pl.concat([THREE, more]))
        assert stands[0].totals == Counts(records=4, written=4)

    def test_one_who_was_overtaken_cannot_commit_what_was_staged_apart(
        self, store: SinkStore
    ) -> None:
        old, new = owner(store), owner(store)
        before = old.claim({0: 1})
        receipt = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE))
        stands = new.claim({0: 2})
        new.sweep(2)
        with pytest.raises(PenstockError):
            old.commit([receipt], steps(before, {0: 3}))
        assert new.progress() == stands
        assert store.writes_at_once or seen(store).is_empty()

    def test_a_successor_commits_what_its_own_tasks_staged(self, store: SinkStore) -> None:
        old, new, zombie = owner(store), owner(store), elsewhere(store)
        old.claim({0: 1})
        place = elsewhere(store).lay(1, 0, 1)
        zombie.stage_apart(place, rows(THREE))
        before = new.claim({0: 2})
        again = elsewhere(store).lay(1, 0, 2)
        new.sweep(2)
        receipt = elsewhere(store).stage_apart(again, rows(THREE))
        with suppress(Unavailable):
            zombie.stage_apart(place, rows(THREE))
        stands = new.commit([receipt], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE)
        assert stands[0].totals == Counts(records=3, written=3)

    def test_rows_that_are_lost_are_noticed(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1})
        there = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE))
        lost = Receipt({0: 4}, there.token)
        if store.writes_at_once:
            return
        with pytest.raises(PenstockError):
            made.commit([lost], steps(before, {0: 4}))
        made.rollback()
        assert seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0

    def test_the_owner_may_stage_some_rows_itself(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1})
        apart = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE[:1]))
        here = made.stage(rows(THREE[1:], start=1))
        stands = made.commit([apart, here], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE)
        assert stands[0].totals == Counts(records=3, written=3)

    def test_no_rows_can_be_staged_apart(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1})
        receipt = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE.clear()))
        assert receipt.total == 0
        assert made.commit([receipt], steps(before, {0: 2}))[0].next == 2

    def test_a_replay_is_never_staged_apart(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1, REPLAY: 1})
        receipt = elsewhere(store).stage_apart(elsewhere(store).lay(1, 0, 1), rows(THREE))
        with pytest.raises(Refused):
            made.commit([receipt], steps({REPLAY: before[REPLAY]}, {REPLAY: 3}))
        assert store.writes_at_once or seen(store).is_empty()

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_work_apart(self, store: SinkStore, name: str) -> None:
        if not store.takes_name(name):
            return
        hostile, key = lane(Person, store.mode, name), LaneKey(name, name, name, name)
        made = elsewhere(store, hostile, key)
        made.open()
        before = made.claim({0: 1})
        task = elsewhere(store, hostile, key)
        receipt = task.stage_apart(task.lay(1, 0, 1), rows(THREE))
        made.commit([receipt], steps(before, {0: 3}))
        assert_frame_equal(store.visible(hostile).sort("id"), THREE)

    def test_every_type_goes_apart_without_loss(self, store: SinkStore) -> None:
        every = lane(Everything, store.mode)
        made = elsewhere(store, every)
        made.open()
        sent = everything()
        before = made.claim({0: 1})
        task = elsewhere(store, every)
        receipt = task.stage_apart(task.lay(1, 0, 1), rows(sent))
        made.commit([receipt], steps(before, {0: sent.height}))
        assert_frame_equal(store.visible(every).sort("id"), sent.sort("id"))


class KeyedApartSinkConformance:
    """What such a sink of mode `upsert` must do besides."""

    def test_the_newest_of_several_receipts_wins(self, store: SinkStore) -> None:
        made = owner(store)
        before = made.claim({0: 1, 1: 1})
        place = elsewhere(store).lay(1, 0, 1)
        parts = [
            rows(people((1, "new@x", 2)), partition=1, base=20),
            rows(people((1, "old@x", 1), (2, "b@x", 2)), base=10),
        ]
        receipts = [elsewhere(store).stage_apart(place, part) for part in parts]
        stands = made.commit(receipts, steps(before, {0: 2, 1: 1}))
        assert_frame_equal(seen(store), people((1, "new@x", 2), (2, "b@x", 2)))
        expected = {0: Counts(records=2, written=1, superseded=1), 1: Counts(records=1, written=1)}
        _expect(store, {p: progress.totals for p, progress in stands.items()}, expected)

    def test_apart_writes_and_counts_what_here_does(self, store: SinkStore) -> None:
        at_random = Random(5)  # noqa: S311
        parts = [[_some(at_random, at, part) for part in (0, 1)] for at in range(8)]
        there, counted = self._written(store, "there", parts, apart=True)
        here, expected = self._written(store, "here", parts, apart=False)
        assert_frame_equal(there, here)
        _expect(store, counted, expected)

    @staticmethod
    def _written(
        store: SinkStore, table: str, batches: Sequence[Sequence[pl.DataFrame]], *, apart: bool
    ) -> tuple[pl.DataFrame, dict[int, Counts]]:
        where, key = lane(Person, store.mode, table), replace(KEY, lane=table)
        made, task = elsewhere(store, where, key), elsewhere(store, where, key)
        made.open()
        stands = made.claim({0: 1, 1: 1})
        for number, parts in enumerate(batches, 1):
            if apart:
                place = task.lay(number, 0, 1)
                receipts = [task.stage_apart(place, part) for part in parts]
            else:
                receipts = [made.stage(pl.concat(parts))]
            ends = {p: stands[p].next + 12 for p in (0, 1)}
            stands = made.commit(receipts, steps(stands, ends))
        totals = {p: progress.totals for p, progress in stands.items()}
        return store.visible(where).sort("id"), totals


class RejectingApartSinkConformance:
    """What such a sink must do whose store can refuse single rows."""

    def test_a_row_rejected_apart_writes_nothing(self, store: SinkStore) -> None:
        made = owner(store)
        store.reject(lane_of(store), "b@x")
        before = made.claim({0: 1})
        place = elsewhere(store).lay(1, 0, 1)
        good = elsewhere(store).stage_apart(place, rows(THREE[:1]))
        with pytest.raises(Rejected):
            bad = elsewhere(store).stage_apart(place, rows(THREE[1:], start=1))
            made.commit([good, bad], steps(before, {0: 3}))
        made.rollback()
        assert seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0
        made.commit([made.stage(rows(THREE[:1]))], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE[:1])


def _expect(
    store: SinkStore, counted: Mapping[int, Counts], expected: Mapping[int, Counts]
) -> None:
    if store.tells_late:
        assert counted == expected
    else:  # it does not tell what became of a row that another task's replaced
        assert all(counts.balanced for counts in counted.values())


def _some(at_random: Random, at: int, partition: int) -> pl.DataFrame:
    """Make twelve rows of few keys, some of them deletes, some older than what is there."""
    ids = [at_random.randrange(9) for _ in range(12)]
    values = people(*((i, f"{at}-{partition}-{n}@x", n) for n, i in enumerate(ids)))
    placed = rows(values, partition=partition, start=12 * at)
    stamps = [2 * at_random.randrange(-40, 40) + 24 * at + partition for _ in ids]
    gone = at_random.sample(range(9), 2 if at % 2 else 0)
    return deleted(placed.with_columns(_order=pl.Series(_distinct(stamps))), *gone)


def _distinct(stamps: Sequence[int]) -> list[int]:
    """Move equal stamps apart, so that no two rows of a key are of the same age."""
    return [1_000_000 + 100 * stamp + at for at, stamp in enumerate(stamps)]
