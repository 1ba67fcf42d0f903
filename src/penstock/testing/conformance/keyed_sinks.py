"""What a sink of mode `upsert` must do, as a pytest class to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from penstock.records import Counts
from penstock.testing.conformance.sink_store import (
    THREE,
    SinkStore,
    open_sink,
    seen,
    write_first,
)
from penstock.testing.conformance.subjects import (
    deleted,
    people,
    rows,
    steps,
)


def too_late(store: SinkStore, *, written: int = 0, deleted: int = 0) -> Counts:
    """What rows and deletes that come too late count as."""
    if store.tells_late:
        return Counts(superseded=written + deleted)
    return Counts(written=written, deleted=deleted)


class KeyedSinkConformance:
    """What a sink of mode `upsert` must do besides."""

    def test_a_newer_row_replaces(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        newer = people((1, "new@x", 11))
        stands = made.commit([made.stage(rows(newer, start=3))], steps(stands, {0: 4}))
        assert_frame_equal(seen(store), pl.concat([newer, THREE[1:]]))
        assert stands[0].totals == Counts(records=4, written=4)

    def test_an_older_row_never_replaces(self, store: SinkStore) -> None:
        made = open_sink(store)
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
        assert_frame_equal(seen(store), pl.concat([THREE, people((4, "d@x", 4))]))
        assert stands[1].totals == Counts(records=1) + too_late(store, written=1)
        assert stands[0].totals == Counts(records=4, written=4)

    def test_the_newest_of_a_batch_wins(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        batch = rows(people((1, "new@x", 2), (2, "b@x", 2), (1, "old@x", 1)))
        stamped = batch.with_columns(_order=pl.Series([30, 20, 10]))
        stands = made.commit([made.stage(stamped)], steps(before, {0: 3}))
        assert_frame_equal(seen(store), people((1, "new@x", 2), (2, "b@x", 2)))
        assert stands[0].totals == Counts(records=3, written=2, superseded=1)

    def test_the_last_of_one_record_wins(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        batch = rows(people((1, "second@x", 2), (1, "first@x", 1)))
        of_one = batch.with_columns(_order=pl.lit(10, pl.Int64), _index=pl.Series([1, 0]))
        made.commit([made.stage(of_one)], steps(before, {0: 1}))
        assert_frame_equal(seen(store), people((1, "second@x", 2)))

    def test_a_delete_removes_the_row(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        gone = deleted(rows(people((1, None, None), (9, None, None)), start=3), 1, 9)
        stands = made.commit([made.stage(gone)], steps(stands, {0: 5}))
        assert_frame_equal(seen(store), THREE[1:])
        assert stands[0].totals == Counts(records=5, written=3, deleted=2)

    def test_an_older_delete_removes_nothing(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        late = deleted(rows(people((1, None, None)), base=5), 1)
        stands = made.commit([made.stage(late)], steps(stands, {0: 4}))
        assert_frame_equal(seen(store), THREE)
        assert stands[0].totals == Counts(records=4, written=3) + too_late(store, deleted=1)

    def test_a_late_row_does_not_come_back_after_a_delete(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        gone = deleted(rows(people((1, None, None)), start=5), 1)
        stands = made.commit([made.stage(gone)], steps(before, {0: 6}))
        late = rows(people((1, "old@x", 1)), start=2)
        stands = made.commit([made.stage(late)], steps(stands, {0: 7}))
        assert seen(store).is_empty()
        assert stands[0].totals == Counts(records=7, deleted=1) + too_late(store, written=1)

    def test_a_newer_row_comes_back_after_a_delete(self, store: SinkStore) -> None:
        made = open_sink(store)
        before = made.claim({0: 1})
        gone = deleted(rows(people((1, None, None))), 1)
        stands = made.commit([made.stage(gone)], steps(before, {0: 1}))
        stands = made.commit([made.stage(rows(THREE, start=1))], steps(stands, {0: 4}))
        assert_frame_equal(seen(store), THREE)

    def test_a_delete_and_a_newer_row_in_one_batch(self, store: SinkStore) -> None:
        made = open_sink(store)
        stands = write_first(made, rows(THREE))
        batch = deleted(rows(people((1, None, None), (2, None, None), (9, None, 9)), start=3), 1, 2)
        batch = pl.concat([batch, rows(people((1, "again@x", 1)), start=6)])
        stands = made.commit([made.stage(batch)], steps(stands, {0: 7}))
        left = people((1, "again@x", 1), (3, None, 30), (9, None, 9))
        assert_frame_equal(seen(store), left)
        assert stands[0].totals == Counts(records=7, written=5, superseded=1, deleted=1)
