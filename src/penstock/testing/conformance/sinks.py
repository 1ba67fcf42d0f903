"""What every sink must do, as pytest classes to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from penstock.errors import Fenced, PenstockError, Refused, Rejected, Unavailable
from penstock.plan import REPLAY
from penstock.records import Counts, LaneKey, Progress, Receipt
from penstock.testing.conformance.sink_store import (
    THREE,
    SinkStore,
    lane_of,
    open_sink,
    seen,
    write_first,
)
from penstock.testing.conformance.subjects import (
    HOSTILE,
    KEY,
    Everything,
    Person,
    everything,
    lane,
    people,
    rows,
    steps,
)


class SinkConformance:
    """What every sink must do.

    Subclass it in a test module, and give it the store. `KeyedSinkConformance`,
    `RejectingSinkConformance` and `RemoteSinkConformance` go beside it where they apply.

    Example:
        class MyStore(SinkStore):
            def __init__(self, url): self.url = url
            def sink(self, lane, key): return MySink(self.url, lane, key)

        class TestMySink(SinkConformance, RejectingSinkConformance):
            @pytest.fixture
            def store(self, tmp_path):
                return MyStore(tmp_path)
    """

    def test_a_new_lane_stands_at_zero(self, store: SinkStore) -> None:
        made = open_sink(store)
        assert made.progress() == {}
        assert made.claim({0: 1, 1: 4}) == {0: Progress(0, 1), 1: Progress(0, 4)}

    def test_nothing_is_visible_before_the_commit(self, store: SinkStore) -> None:
        made = open_sink(store)
        made.claim({0: 1})
        made.stage(rows(THREE))
        assert seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0

    def test_a_commit_shows_exactly_the_rows(self, store: SinkStore) -> None:
        write_first(open_sink(store), rows(THREE))
        assert_frame_equal(seen(store), THREE)

    def test_a_commit_moves_the_progress(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        assert stands == open_sink(store).progress()
        step = steps({0: Progress(0, 1)}, {0: 3})[0]
        counted = replace(step.after.totals, written=3)
        assert stands == {0: replace(step.after, totals=counted)}

    def test_a_commit_without_rows_moves_the_progress(self, store: SinkStore) -> None:
        made = open_sink(store)
        made.commit([], steps(made.claim({0: 1}), {0: 7}))
        assert open_sink(store).progress()[0].next == 7

    def test_an_empty_frame_can_be_staged(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE.clear()))
        assert receipt.total == 0
        assert made.commit([receipt], steps(before, {0: 2}))[0].next == 2

    def test_several_frames_make_one_commit(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        receipts = [made.stage(rows(THREE[at : at + 1], start=at)) for at in range(3)]
        stands = made.commit(receipts, steps(before, {0: 3}))
        assert stands[0].totals.written == 3
        assert_frame_equal(seen(store), THREE)

    def test_totals_go_on(self, store: SinkStore) -> None:
        made = open_sink(store)
        first = write_first(made, rows(THREE))
        receipt = made.stage(rows(people((4, "d@x", 1)), start=3))
        stands = made.commit([receipt], steps(first, {0: 4}))
        assert stands[0].totals == Counts(records=4, written=4)

    def test_each_partition_is_counted(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1, 1: 1})
        both = pl.concat([rows(THREE), rows(people((4, None, 1)), partition=1)])
        receipt = made.stage(both)
        stands = made.commit([receipt], steps(before, {0: 3, 1: 1}))
        assert receipt.rows == {0: 3, 1: 1}
        assert {p: s.totals.written for p, s in stands.items()} == {0: 3, 1: 1}

    def test_a_replay_is_counted_under_its_own_partition(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1, REPLAY: 1})
        receipt = made.stage(rows(THREE, partition=0, start=100))
        stands = made.commit([receipt], steps({REPLAY: before[REPLAY]}, {REPLAY: 3}))
        assert stands[REPLAY].totals.written == 3
        assert made.progress()[0] == before[0]

    def test_a_claim_tells_where_the_predecessor_stood(self, store: SinkStore) -> None:
        stands = write_first(open_sink(store), rows(THREE))
        assert open_sink(store).claim({0: 2}) == {0: replace(stands[0], epoch=2)}

    def test_the_same_epoch_may_claim_again(self, store: SinkStore) -> None:
        made = open_sink(store)
        assert made.claim({0: 1}) == made.claim({0: 1})

    def test_a_lower_epoch_cannot_claim(self, store: SinkStore) -> None:
        open_sink(store).claim({0: 2})
        with pytest.raises(Fenced):
            open_sink(store).claim({0: 1})

    def test_a_predecessor_cannot_commit(self, store: SinkStore) -> None:
        old = open_sink(store)
        before = old.claim({0: 1})
        open_sink(store).claim({0: 2})
        with pytest.raises(Fenced):
            old.commit([], steps(before, {0: 5}))
        assert open_sink(store).progress()[0].next == 0

    @pytest.mark.timeout(20)
    def test_a_stalled_predecessor_holds_nobody_up(self, store: SinkStore) -> None:
        old, new = open_sink(store), open_sink(store)
        before = old.claim({0: 1})
        receipt = old.stage(rows(THREE))
        stands = new.claim({0: 2})
        new.commit([new.stage(rows(THREE))], steps(stands, {0: 3}))
        with pytest.raises(Fenced):
            old.commit([receipt], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE)

    def test_partitions_are_fenced_one_by_one(self, store: SinkStore) -> None:
        old = open_sink(store)
        before = old.claim({0: 1, 1: 1})
        open_sink(store).claim({0: 2})
        assert old.commit([], steps({1: before[1]}, {1: 5}))[1].next == 5

    def test_a_commit_from_another_place_is_fenced(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        wrong = {0: replace(stands[0], next=2)}
        with pytest.raises(Fenced):
            made.commit([], steps(wrong, {0: 5}))
        assert open_sink(store).progress() == stands

    def test_receipts_must_count_what_is_staged(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        made.stage(rows(THREE))
        with pytest.raises(PenstockError):
            made.commit([Receipt({0: 4})], steps(before, {0: 4}))
        assert seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0

    def test_a_crash_before_the_commit_leaves_nothing(self, store: SinkStore) -> None:
        crashed = open_sink(store)
        crashed.claim({0: 1})
        crashed.stage(rows(THREE))
        crashed.close()
        made = open_sink(store)
        before = made.claim({0: 2})
        made.sweep(2)
        made.commit([made.stage(rows(THREE[:2]))], steps(before, {0: 2}))
        assert_frame_equal(seen(store), THREE[:2])

    def test_a_rollback_forgets_what_is_staged(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        made.stage(rows(THREE))
        made.rollback()
        made.commit([made.stage(rows(THREE[:1]))], steps(before, {0: 1}))
        assert_frame_equal(seen(store), THREE[:1])

    def test_isolate_keeps_nothing(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        assert list(made.isolate(rows(THREE))) == []
        made.commit([], steps(before, {0: 3}))
        assert seen(store).is_empty()

    def test_open_twice_changes_nothing(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        again = open_sink(store)
        assert list(again.preview()) == []
        assert again.progress() == stands
        assert_frame_equal(seen(store), THREE)

    def test_a_preview_writes_nothing(self, store: SinkStore) -> None:
        made = store.sink(lane_of(store), KEY)
        first = list(made.preview())
        assert first
        assert list(store.sink(lane_of(store), KEY).preview()) == first

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_work(self, store: SinkStore, name: str) -> None:
        hostile = lane(Person, store.mode, name)
        key = LaneKey(name, name, name, name)
        made = store.sink(hostile, key)
        if not store.takes_name(name):
            with pytest.raises(Refused, match=re.escape(repr(name))):
                made.open()
            return
        made.open()
        before = made.claim({0: 1})
        made.commit([made.stage(rows(THREE))], steps(before, {0: 3}))
        assert_frame_equal(store.visible(hostile).sort("id"), THREE)
        assert made.progress()[0].next == 3

    def test_every_type_comes_back_without_loss(self, store: SinkStore) -> None:
        every = lane(Everything, store.mode)
        made = store.sink(every, KEY)
        made.open()
        sent = everything()
        before = made.claim({0: 1})
        made.commit([made.stage(rows(sent))], steps(before, {0: sent.height}))
        assert_frame_equal(store.visible(every).sort("id"), sent.sort("id"))

    def test_lanes_do_not_share_progress(self, store: SinkStore) -> None:
        write_first(open_sink(store), rows(THREE))
        other = store.sink(lane_of(store), replace(KEY, segment="another"))
        other.open()
        assert other.claim({0: 1})[0].next == 0


class RejectingSinkConformance:
    """What a sink must do whose store can refuse single rows (`SinkStore.reject`, `exclude`)."""

    def test_a_rejected_row_writes_nothing(self, store: SinkStore) -> None:
        made = open_sink(store)
        store.reject(lane_of(store), "b@x")
        before = made.claim({0: 1})
        with pytest.raises(Rejected):
            made.commit([made.stage(rows(THREE))], steps(before, {0: 3}))
        made.rollback()
        assert seen(store).is_empty()
        assert open_sink(store).progress()[0].next == 0

    def test_isolate_names_exactly_the_rejected_rows(self, store: SinkStore) -> None:
        made = open_sink(store)
        store.reject(lane_of(store), "bad@x")
        made.claim({0: 1})
        many = people(*((i, "bad@x" if i in (0, 7, 8, 36) else f"{i}@x", i) for i in range(37)))
        assert [number for number, _ in made.isolate(rows(many))] == [0, 7, 8, 36]

    def test_isolate_finds_rows_rejected_only_together(self, store: SinkStore) -> None:
        made = open_sink(store)
        store.exclude(lane_of(store))
        made.claim({0: 1})
        many = people(*((i, "same@x" if i in (3, 29) else f"{i}@x", i) for i in range(32)))
        guilty = [number for number, _ in made.isolate(rows(many))]
        assert guilty == [29]

    def test_what_isolate_leaves_is_taken(self, store: SinkStore) -> None:
        made = open_sink(store)
        store.reject(lane_of(store), "b@x")
        before = made.claim({0: 1})
        all_rows = rows(THREE)
        guilty = [number for number, _ in made.isolate(all_rows)]
        left = all_rows.with_row_index("n").filter(~pl.col("n").is_in(guilty)).drop("n")
        made.commit([made.stage(left)], steps(before, {0: 3}))
        assert_frame_equal(seen(store), pl.concat([THREE[:1], THREE[2:]]))


class RemoteSinkConformance:
    """What a sink must do whose store can go away (`SinkStore.cut`)."""

    def test_a_lost_connection_is_unavailable(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE))
        store.cut()
        try:
            moved = made.commit([receipt], steps(before, {0: 3}))
        except Unavailable:
            return
        assert store.mends, "a commit over a broken connection says Unavailable"
        assert open_sink(store).progress() == moved
        assert_frame_equal(seen(store), THREE)

    def test_a_sink_goes_on_after_a_lost_connection(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE))
        store.cut()
        with suppress(PenstockError):
            made.commit([receipt], steps(before, {0: 3}))
        made.rollback()
        before = made.claim({0: 1})
        made.commit([made.stage(rows(THREE))], steps(before, {0: 3}))
        assert_frame_equal(seen(store), THREE)
