"""What every sink must do, as pytest classes to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from penstock.errors import Fenced, PenstockError, Rejected, Unavailable
from penstock.interfaces import Counts, LaneKey, Progress, Receipt, Sink
from penstock.plan import REPLAY, Lane
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

THREE = people((1, "a@x", 10), (2, "b@x", None), (3, None, 30))


class SinkStore(ABC):
    """A store under test, empty at the start of each check.

    Args:
        mode: The mode of the lanes that the checks make: `upsert`, `append` or `topic`.
    """

    mode = "append"

    @abstractmethod
    def sink(self, lane: Lane, key: LaneKey) -> Sink:
        """Make a sink onto this store, as another process would; not opened yet."""

    def visible(self, lane: Lane) -> pl.DataFrame:
        """Return the contract's columns of every row that a reader of the store sees."""
        reader = self.sink(lane, KEY)
        try:
            frames = [frame.select(lane.spec.polars.names()) for frame in reader.positions()]
        finally:
            reader.close()
        return pl.concat([pl.DataFrame(schema=lane.spec.polars), *frames])

    def reject(self, lane: Lane, email: str) -> None:
        """Make the opened table take no row with this `email` from now on."""
        raise NotImplementedError

    def exclude(self, lane: Lane) -> None:
        """Make the opened table take no two rows with the same `email` from now on."""
        raise NotImplementedError

    def cut(self) -> None:
        """Break the connections of every sink at once; new ones work."""
        raise NotImplementedError


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
        made = _open(store)
        assert made.progress() == {}
        assert made.claim({0: 1, 1: 4}) == {0: Progress(0, 1), 1: Progress(0, 4)}

    def test_nothing_is_visible_before_the_commit(self, store: SinkStore) -> None:
        made = _open(store)
        made.claim({0: 1})
        made.stage(rows(THREE))
        assert _seen(store).is_empty()
        assert _open(store).progress()[0].next == 0

    def test_a_commit_shows_exactly_the_rows(self, store: SinkStore) -> None:
        _write(_open(store), rows(THREE))
        assert_frame_equal(_seen(store), THREE)

    def test_a_commit_moves_the_progress(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        assert stands == _open(store).progress()
        step = steps({0: Progress(0, 1)}, {0: 3})[0]
        counted = replace(step.after.totals, written=3)
        assert stands == {0: replace(step.after, totals=counted)}

    def test_a_commit_without_rows_moves_the_progress(self, store: SinkStore) -> None:
        made = _open(store)
        made.commit([], steps(made.claim({0: 1}), {0: 7}))
        assert _open(store).progress()[0].next == 7

    def test_an_empty_frame_can_be_staged(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE.clear()))
        assert receipt.total == 0
        assert made.commit([receipt], steps(before, {0: 2}))[0].next == 2

    def test_several_frames_make_one_commit(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        receipts = [made.stage(rows(THREE[:1])), made.stage(rows(THREE[1:], start=1))]
        stands = made.commit(receipts, steps(before, {0: 3}))
        assert stands[0].totals.written == 3
        assert_frame_equal(_seen(store), THREE)

    def test_totals_go_on(self, store: SinkStore) -> None:
        made = _open(store)
        first = _write(made, rows(THREE))
        receipt = made.stage(rows(people((4, "d@x", 1)), start=3))
        stands = made.commit([receipt], steps(first, {0: 4}))
        assert stands[0].totals == Counts(records=4, written=4)

    def test_each_partition_is_counted(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1, 1: 1})
        both = pl.concat([rows(THREE), rows(people((4, None, 1)), partition=1)])
        receipt = made.stage(both)
        stands = made.commit([receipt], steps(before, {0: 3, 1: 1}))
        assert receipt.rows == {0: 3, 1: 1}
        assert {p: s.totals.written for p, s in stands.items()} == {0: 3, 1: 1}

    def test_a_replay_is_counted_under_its_own_partition(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1, REPLAY: 1})
        receipt = made.stage(rows(THREE, partition=0, start=100))
        stands = made.commit([receipt], steps({REPLAY: before[REPLAY]}, {REPLAY: 3}))
        assert stands[REPLAY].totals.written == 3
        assert made.progress()[0] == before[0]

    def test_a_claim_tells_where_the_predecessor_stood(self, store: SinkStore) -> None:
        stands = _write(_open(store), rows(THREE))
        assert _open(store).claim({0: 2}) == {0: replace(stands[0], epoch=2)}

    def test_the_same_epoch_may_claim_again(self, store: SinkStore) -> None:
        made = _open(store)
        assert made.claim({0: 1}) == made.claim({0: 1})

    def test_a_lower_epoch_cannot_claim(self, store: SinkStore) -> None:
        _open(store).claim({0: 2})
        with pytest.raises(Fenced):
            _open(store).claim({0: 1})

    def test_a_predecessor_cannot_commit(self, store: SinkStore) -> None:
        old = _open(store)
        before = old.claim({0: 1})
        _open(store).claim({0: 2})
        with pytest.raises(Fenced):
            old.commit([], steps(before, {0: 5}))
        assert _open(store).progress()[0].next == 0

    @pytest.mark.timeout(20)
    def test_a_stalled_predecessor_holds_nobody_up(self, store: SinkStore) -> None:
        old, new = _open(store), _open(store)
        before = old.claim({0: 1})
        receipt = old.stage(rows(THREE))
        stands = new.claim({0: 2})
        new.commit([new.stage(rows(THREE))], steps(stands, {0: 3}))
        with pytest.raises(Fenced):
            old.commit([receipt], steps(before, {0: 3}))
        assert_frame_equal(_seen(store), THREE)

    def test_partitions_are_fenced_one_by_one(self, store: SinkStore) -> None:
        old = _open(store)
        before = old.claim({0: 1, 1: 1})
        _open(store).claim({0: 2})
        assert old.commit([], steps({1: before[1]}, {1: 5}))[1].next == 5

    def test_a_commit_from_another_place_is_fenced(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        wrong = {0: replace(stands[0], next=2)}
        with pytest.raises(Fenced):
            made.commit([], steps(wrong, {0: 5}))
        assert _open(store).progress() == stands

    def test_receipts_must_count_what_is_staged(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        made.stage(rows(THREE))
        with pytest.raises(PenstockError):
            made.commit([Receipt({0: 4})], steps(before, {0: 4}))
        assert _seen(store).is_empty()
        assert _open(store).progress()[0].next == 0

    def test_a_crash_before_the_commit_leaves_nothing(self, store: SinkStore) -> None:
        crashed = _open(store)
        crashed.claim({0: 1})
        crashed.stage(rows(THREE))
        crashed.close()
        made = _open(store)
        before = made.claim({0: 2})
        made.sweep(2)
        made.commit([made.stage(rows(THREE[:2]))], steps(before, {0: 2}))
        assert_frame_equal(_seen(store), THREE[:2])

    def test_a_rollback_forgets_what_is_staged(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        made.stage(rows(THREE))
        made.rollback()
        made.commit([made.stage(rows(THREE[:1]))], steps(before, {0: 1}))
        assert_frame_equal(_seen(store), THREE[:1])

    def test_isolate_keeps_nothing(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        assert list(made.isolate(rows(THREE))) == []
        made.commit([], steps(before, {0: 3}))
        assert _seen(store).is_empty()

    def test_open_twice_changes_nothing(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        again = _open(store)
        assert list(again.preview()) == []
        assert again.progress() == stands
        assert_frame_equal(_seen(store), THREE)

    def test_a_preview_writes_nothing(self, store: SinkStore) -> None:
        made = store.sink(_lane(store), KEY)
        first = list(made.preview())
        assert first
        assert list(store.sink(_lane(store), KEY).preview()) == first

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_work(self, store: SinkStore, name: str) -> None:
        hostile = lane(Person, store.mode, name)
        key = LaneKey(name, name, name, name)
        made = store.sink(hostile, key)
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
        _write(_open(store), rows(THREE))
        other = store.sink(_lane(store), replace(KEY, segment="another"))
        other.open()
        assert other.claim({0: 1})[0].next == 0


class KeyedSinkConformance:
    """What a sink of mode `upsert` must do besides."""

    def test_a_newer_row_replaces(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        newer = people((1, "new@x", 11))
        stands = made.commit([made.stage(rows(newer, start=3))], steps(stands, {0: 4}))
        assert_frame_equal(_seen(store), pl.concat([newer, THREE[1:]]))
        assert stands[0].totals == Counts(records=4, written=4)

    def test_an_older_row_never_replaces(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1, 1: 1})
        made.commit([made.stage(rows(THREE))], steps({0: before[0]}, {0: 3}))
        late = pl.concat(
            [
                rows(people((1, "old@x", 1)), partition=1, base=5),
                rows(people((4, "d@x", 4)), partition=0, start=3),
            ]
        )
        now = made.progress()
        stands = made.commit([made.stage(late)], steps(now, {0: 4, 1: 1}))
        assert_frame_equal(_seen(store), pl.concat([THREE, people((4, "d@x", 4))]))
        assert stands[1].totals == Counts(records=1, superseded=1)
        assert stands[0].totals == Counts(records=4, written=4)

    def test_the_newest_of_a_batch_wins(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        batch = rows(people((1, "new@x", 2), (2, "b@x", 2), (1, "old@x", 1)))
        stamped = batch.with_columns(_order=pl.Series([30, 20, 10]))
        stands = made.commit([made.stage(stamped)], steps(before, {0: 3}))
        assert_frame_equal(_seen(store), people((1, "new@x", 2), (2, "b@x", 2)))
        assert stands[0].totals == Counts(records=3, written=2, superseded=1)

    def test_the_last_of_one_record_wins(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        batch = rows(people((1, "second@x", 2), (1, "first@x", 1)))
        of_one = batch.with_columns(_order=pl.lit(10, pl.Int64), _index=pl.Series([1, 0]))
        made.commit([made.stage(of_one)], steps(before, {0: 1}))
        assert_frame_equal(_seen(store), people((1, "second@x", 2)))

    def test_a_delete_removes_the_row(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        gone = deleted(rows(people((1, None, None), (9, None, None)), start=3), 1, 9)
        stands = made.commit([made.stage(gone)], steps(stands, {0: 5}))
        assert_frame_equal(_seen(store), THREE[1:])
        assert stands[0].totals == Counts(records=5, written=3, deleted=2)

    def test_an_older_delete_removes_nothing(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        late = deleted(rows(people((1, None, None)), base=5), 1)
        stands = made.commit([made.stage(late)], steps(stands, {0: 4}))
        assert_frame_equal(_seen(store), THREE)
        assert stands[0].totals == Counts(records=4, written=3, superseded=1)

    def test_a_late_row_does_not_come_back_after_a_delete(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        gone = deleted(rows(people((1, None, None)), start=5), 1)
        stands = made.commit([made.stage(gone)], steps(before, {0: 6}))
        late = rows(people((1, "old@x", 1)), start=2)
        stands = made.commit([made.stage(late)], steps(stands, {0: 7}))
        assert _seen(store).is_empty()
        assert stands[0].totals.superseded == 1

    def test_a_newer_row_comes_back_after_a_delete(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        gone = deleted(rows(people((1, None, None))), 1)
        stands = made.commit([made.stage(gone)], steps(before, {0: 1}))
        stands = made.commit([made.stage(rows(THREE, start=1))], steps(stands, {0: 4}))
        assert_frame_equal(_seen(store), THREE)

    def test_a_delete_and_a_newer_row_in_one_batch(self, store: SinkStore) -> None:
        made = _open(store)
        stands = _write(made, rows(THREE))
        batch = deleted(rows(people((1, None, None), (2, None, None), (9, None, 9)), start=3), 1, 2)
        batch = pl.concat([batch, rows(people((1, "again@x", 1)), start=6)])
        stands = made.commit([made.stage(batch)], steps(stands, {0: 7}))
        left = people((1, "again@x", 1), (3, None, 30), (9, None, 9))
        assert_frame_equal(_seen(store), left)
        assert stands[0].totals == Counts(records=7, written=5, superseded=1, deleted=1)


class RejectingSinkConformance:
    """What a sink must do whose store can refuse single rows (`SinkStore.reject`, `exclude`)."""

    def test_a_rejected_row_writes_nothing(self, store: SinkStore) -> None:
        made = _open(store)
        store.reject(_lane(store), "b@x")
        before = made.claim({0: 1})
        with pytest.raises(Rejected):
            made.commit([made.stage(rows(THREE))], steps(before, {0: 3}))
        made.rollback()
        assert _seen(store).is_empty()
        assert _open(store).progress()[0].next == 0

    def test_isolate_names_exactly_the_rejected_rows(self, store: SinkStore) -> None:
        made = _open(store)
        store.reject(_lane(store), "bad@x")
        made.claim({0: 1})
        many = people(*((i, "bad@x" if i in (0, 7, 8, 36) else f"{i}@x", i) for i in range(37)))
        assert [number for number, _ in made.isolate(rows(many))] == [0, 7, 8, 36]

    def test_isolate_finds_rows_rejected_only_together(self, store: SinkStore) -> None:
        made = _open(store)
        store.exclude(_lane(store))
        made.claim({0: 1})
        many = people(*((i, "same@x" if i in (3, 29) else f"{i}@x", i) for i in range(32)))
        guilty = [number for number, _ in made.isolate(rows(many))]
        assert guilty == [29]

    def test_what_isolate_leaves_is_taken(self, store: SinkStore) -> None:
        made = _open(store)
        store.reject(_lane(store), "b@x")
        before = made.claim({0: 1})
        all_rows = rows(THREE)
        guilty = [number for number, _ in made.isolate(all_rows)]
        left = all_rows.with_row_index("n").filter(~pl.col("n").is_in(guilty)).drop("n")
        made.commit([made.stage(left)], steps(before, {0: 3}))
        assert_frame_equal(_seen(store), pl.concat([THREE[:1], THREE[2:]]))


class RemoteSinkConformance:
    """What a sink must do whose store can go away (`SinkStore.cut`)."""

    def test_a_lost_connection_is_unavailable(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE))
        store.cut()
        with pytest.raises(Unavailable):
            made.commit([receipt], steps(before, {0: 3}))

    def test_a_sink_goes_on_after_a_lost_connection(self, store: SinkStore) -> None:
        made = _open(store)
        before = made.claim({0: 1})
        receipt = made.stage(rows(THREE))
        store.cut()
        with suppress(PenstockError):
            made.commit([receipt], steps(before, {0: 3}))
        made.rollback()
        before = made.claim({0: 1})
        made.commit([made.stage(rows(THREE))], steps(before, {0: 3}))
        assert_frame_equal(_seen(store), THREE)


def _lane(store: SinkStore) -> Lane:
    return lane(Person, store.mode)


def _open(store: SinkStore) -> Sink:
    made = store.sink(_lane(store), KEY)
    made.open()
    return made


def _write(sink: Sink, frame: pl.DataFrame) -> Mapping[int, Progress]:
    """Write the first micro-batch of partition 0."""
    before = sink.claim({0: 1})
    return sink.commit([sink.stage(frame)], steps(before, {0: frame.height}))


def _seen(store: SinkStore) -> pl.DataFrame:
    return store.visible(_lane(store)).sort("id")
