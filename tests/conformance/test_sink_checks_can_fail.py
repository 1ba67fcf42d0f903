"""Each check of the sinks' suites fails for a sink that breaks just the promise it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pytest

from penstock.errors import PenstockError, Refused, Rejected, Unavailable
from penstock.plan import REPLAY, Lane
from penstock.records import Counts, LaneKey, Progress, Receipt, Step
from penstock.testing.conformance import (
    ApartSinkConformance,
    KeyedApartSinkConformance,
    KeyedSinkConformance,
    RejectingApartSinkConformance,
    RejectingSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
    SinkStore,
)
from penstock.testing.conformance.subjects import HOSTILE
from penstock.testing.memory_sink import MemorySink, MemoryStore

Steps = Mapping[int, Step]
Moved = Mapping[int, Progress]


class Honest(MemorySink):
    """A sink in memory that keeps every promise, connections that can be cut included."""

    is_cut = False

    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if self.is_cut:
            raise Unavailable("the connection is cut")
        return super().commit(receipts, steps)

    def rollback(self) -> None:
        super().rollback()
        self.is_cut = False


class Store(SinkStore):
    mode = "upsert"

    def __init__(self, made: type[Honest]) -> None:
        self._made = made
        self._memory = MemoryStore()
        self._sinks: list[Honest] = []

    def sink(self, lane: Lane, key: LaneKey) -> Honest:
        self._sinks.append(self._made(self._memory, lane, key))
        return self._sinks[-1]

    def reject(self, lane: Lane, email: str) -> None:
        self._memory.refuses = pl.col("email") == email

    def exclude(self, lane: Lane) -> None:
        self._memory.refuses = ~pl.col("email").is_first_distinct()

    def cut(self) -> None:
        for made in self._sinks:
            made.is_cut = True


# --- one broken sink for each check ---


class BeginsSomewhere(Honest):
    def progress(self) -> Moved:
        return super().progress() or {0: Progress(0, 0)}


class ShowsStagedRows(Honest):
    leaked: list[pl.DataFrame]

    def stage(self, rows: pl.DataFrame) -> Receipt:
        vars(self._store).setdefault("leaked", []).append(rows)
        return super().stage(rows)

    def positions(self) -> Iterator[pl.DataFrame]:
        yield from super().positions()
        yield from vars(self._store).get("leaked", [])

    def rollback(self) -> None:
        super().rollback()
        vars(self._store)["leaked"] = []


class LosesARow(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        counts = super()._write(rows)
        self._store.tables[self._lane.table].by_key.pop((2,), None)
        return counts


class ForgetsThePlan(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        moved = super().commit(receipts, steps)
        return {p: replace(now, plan="") for p, now in moved.items()}


class SkipsEmptyCommits(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        moved = super().commit(receipts, steps)
        if not receipts and steps[min(steps)].after.next == 7:
            for p, step in steps.items():
                self._store.progress[self._key, p] = step.before
        return moved


class RefusesEmptyFrames(Honest):
    def stage(self, rows: pl.DataFrame) -> Receipt:
        if rows.is_empty():
            raise Rejected("no rows")
        return super().stage(rows)


class KeepsOneFrame(Honest):
    def stage(self, rows: pl.DataFrame) -> Receipt:
        self._staged.clear()
        return super().stage(rows)

    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        return super().commit(receipts[-1:], steps)


class StartsTotalsAnew(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if receipts and all(s.before.next == 3 and s.after.next == 4 for s in steps.values()):
            steps = {
                p: replace(s, after=replace(s.after, totals=s.after.totals - s.before.totals))
                for p, s in steps.items()
            }
        return super().commit(receipts, steps)


class MixesPartitionsUp(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        counts = super()._write(rows)
        return {0: sum(counts.values(), Counts())}


class CountsReplaysByOrigin(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        moved = super().commit(receipts, steps)
        if REPLAY not in steps:
            return moved
        return {p: replace(now, totals=steps[p].after.totals) for p, now in moved.items()}


class ForgetsWhereItStood(Honest):
    def claim(self, epochs: Mapping[int, int]) -> Moved:
        claimed = super().claim(epochs)
        return {p: replace(now, tail="") for p, now in claimed.items()}


class ClaimsOnce(Honest):
    def claim(self, epochs: Mapping[int, int]) -> Moved:
        if epochs == self._epochs and not vars(self._store).get("lane_was_cut") and not self.lost:
            raise self._fenced()
        self.lost = False
        return super().claim(epochs)

    lost = False

    def rollback(self) -> None:
        self.lost = self.is_cut
        super().rollback()


class LetsLowerEpochsClaim(Honest):
    def claim(self, epochs: Mapping[int, int]) -> Moved:
        for p in epochs:
            self._store.progress[self._key, p] = replace(self._stands(p), epoch=0)
        return super().claim(epochs)


class IgnoresEpochs(Honest):
    def _check_epochs(self, steps: Steps) -> None:
        return super()._check_epochs(
            {
                p: replace(s, before=replace(s.before, epoch=self._stands(p).epoch))
                for p, s in steps.items()
            }
        )


class LocksTheLane(Honest):
    def claim(self, epochs: Mapping[int, int]) -> Moved:
        owner = vars(self._store).get("owner")
        if owner not in (None, self) and owner._staged:
            raise Unavailable("waited for the predecessor in vain")
        vars(self._store)["owner"] = self
        return super().claim(epochs)


class FencesTheWholeLane(Honest):
    def _check_epochs(self, steps: Steps) -> None:
        super()._check_epochs(steps)
        if any(self._stands(p).epoch > epoch for p, epoch in self._epochs.items()):
            raise self._fenced()


class IgnoresThePlace(Honest):
    def _check_epochs(self, steps: Steps) -> None:
        return super()._check_epochs(
            {
                p: replace(s, before=replace(s.before, next=self._stands(p).next))
                if self._stands(p).next - s.before.next == 1
                else s
                for p, s in steps.items()
            }
        )


class TrustsReceipts(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        rows = Receipt({0: sum(frame.height for frame in self._staged)})
        wrong = [r for r in receipts if r.rows == {0: 4}]
        return super().commit([rows] if wrong else receipts, steps)


class CommitsOnClose(Honest):
    def close(self) -> None:
        for rows in self._staged:
            self._write(rows)
        super().close()


class NeverRollsBack(Honest):
    def rollback(self) -> None:
        kept = self._staged
        super().rollback()
        self._staged = kept if not self.committing else []

    committing = False

    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        self.committing = True
        return super().commit(receipts, steps)

    def claim(self, epochs: Mapping[int, int]) -> Moved:
        self._staged = []
        return super().claim(epochs)


class KeepsWhatItIsolates(Honest):
    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        found = super().isolate(rows)
        if not found:
            self._write(rows)
        return found


class TruncatesOnOpen(Honest):
    def open(self) -> None:
        super().open()
        if any(now.next == 3 for now in self.progress().values()) and self.alone():
            self._store.tables[self._lane.table].by_key.clear()

    def alone(self) -> bool:
        """Whether the table holds just three rows, so that this is the check of `open`."""
        return len(self._store.tables[self._lane.table].by_key) == 3


class OpensForAPreview(Honest):
    def preview(self) -> Sequence[str]:
        found = super().preview()
        self.open()
        return found


class CutsNames(Honest):
    def open(self) -> None:
        if len(self._lane.table) > 31:
            raise PenstockError("the name is too long")
        super().open()


class StoresMilliseconds(Honest):
    def positions(self) -> Iterator[pl.DataFrame]:
        for frame in super().positions():
            dates = [n for n, t in frame.schema.items() if t == pl.Datetime("us", "UTC")]
            yield frame.with_columns(pl.col(dates).dt.truncate("1ms"))


class SharesProgress(Honest):
    def __init__(self, store: MemoryStore, lane: Lane, key: LaneKey) -> None:
        super().__init__(store, lane, replace(key, segment=""))


class NeverReplaces(Honest):
    def _apply(self, table: object, row: dict[str, object]) -> str:
        if row.get("email") == "new@x" and row["age"] == 11:
            return "superseded"
        return super()._apply(table, row)  # type: ignore[arg-type]


class IgnoresOrder(Honest):
    def _apply(self, table: object, row: dict[str, object]) -> str:
        if row.get("email") == "old@x" and row["age"] == 1 and row["_partition"] == 1:
            row = {**row, "_order": 2**40}
        return super()._apply(table, row)  # type: ignore[arg-type]


class LastInFrameWins(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        if rows["_order"].to_list() == [30, 20, 10]:
            rows = rows.with_columns(_order=pl.Series([10, 20, 30]))
        return super()._write(rows)


class IgnoresIndex(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        return super()._write(rows.with_columns(_index=pl.lit(0, pl.Int64)))


class CountsOnlyRealDeletes(Honest):
    def _apply(self, table: object, row: dict[str, object]) -> str:
        done = super()._apply(table, row)  # type: ignore[arg-type]
        return "superseded" if done == "deleted" and row["id"] == 9 else done


class DeletesWhateverIsThere(Honest):
    def _apply(self, table: object, row: dict[str, object]) -> str:
        if row["_deleted"] and row["_order"] == 5:
            row = {**row, "_order": 2**40}
        return super()._apply(table, row)  # type: ignore[arg-type]


class ForgetsDeletes(Honest):
    def stage(self, rows: pl.DataFrame) -> Receipt:
        if "email" in rows.columns and "old@x" in rows["email"]:
            self._store.tables[self._lane.table].gone.clear()
        return super().stage(rows)


class BuriesForEver(Honest):
    def _apply(self, table: object, row: dict[str, object]) -> str:
        gone = self._store.tables[self._lane.table].gone
        if (row["id"],) in gone and not row["_deleted"]:
            return "superseded"
        return super()._apply(table, row)  # type: ignore[arg-type]


class DeletesLast(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        counts = super()._write(rows)
        if rows["_deleted"].any() and rows.height > 2:
            for key in rows.filter("_deleted")["id"]:
                self._store.tables[self._lane.table].by_key.pop((key,), None)
        return counts


class WritesTheOthers(Honest):
    def stage(self, rows: pl.DataFrame) -> Receipt:
        if self._refused(rows).any():
            self._write(rows.filter(~self._refused(rows)))
        return super().stage(rows)


class NamesTooMany(Honest):
    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        found = list(super().isolate(rows))
        return [*found, (36, found[0][1]), (35, found[0][1])] if len(found) == 4 else found


class NamesBothOfTwo(Honest):
    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        found = list(super().isolate(rows))
        return [(3, found[0][1]), *found] if [n for n, _ in found] == [29] else found


class MissesTheGuilty(Honest):
    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        return [] if rows.height == 3 else super().isolate(rows)


class SaysRejectedWhenCut(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if self.is_cut:
            raise Rejected("no connection")
        return super().commit(receipts, steps)


class NeverReconnects(Honest):
    def rollback(self) -> None:
        was_cut = self.is_cut
        super().rollback()
        self.is_cut = was_cut


class ShowsWhatIsApart(Honest):
    def positions(self) -> Iterator[pl.DataFrame]:
        yield from super().positions()
        for laid in self._store.laid.values():
            yield from laid.values()


class KeepsOneReceipt(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        return super().commit(receipts[:1] if len(receipts) == 4 else receipts, steps)


class CommitsWhatNobodyNamed(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        for receipt in receipts[:1] if len(receipts) == 1 else ():
            laid = self._store.laid.get((self._key, receipt.token.rpartition(" ")[0]), {})
            if len(laid) == 3:
                receipts = [Receipt(_counts(frame), token) for token, frame in laid.items()]
        return super().commit(receipts, steps)


class CannotBearLateTasks(Honest):
    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        try:
            return super().stage_apart(place, rows)
        except Unavailable:
            if self._stands(0).epoch == 1:
                raise Refused("no room") from None
            raise


class CommitsForTheOvertaken(Honest):
    def sweep(self, epoch: int) -> None:
        if (self._key, "1 1") in self._store.laid and (self._key, "2 1") not in self._store.laid:
            for frame in self._store.laid[self._key, "1 1"].values():
                self._write(frame)
        super().sweep(epoch)


class SweepsItsOwn(Honest):
    def sweep(self, epoch: int) -> None:
        super().sweep(epoch + 1)


class TrustsReceiptsFromApart(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        found = {r.token: r for r in receipts if r.token and sum(r.rows.values()) == 4}
        true = [Receipt({0: 3}, r.token) if r.token in found else r for r in receipts]
        return super().commit(true, steps)


class ForgetsWhatIsHere(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if {bool(r.token) for r in receipts} == {True, False}:
            self._staged = []
            receipts = [r for r in receipts if r.token]
        return super().commit(receipts, steps)


class RefusesEmptyFramesApart(Honest):
    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        if rows.is_empty():
            raise Rejected("no rows")
        return super().stage_apart(place, rows)


class TakesReplaysApart(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if REPLAY in steps:
            self._staged = [self._find(r.token) for r in receipts if r.token] or self._staged
            receipts = [replace(receipt, token="") for receipt in receipts]
        return super().commit(receipts, steps)


class CutsNamesApart(Honest):
    def lay(self, batch: int, partition: int, epoch: int) -> str:
        if len(self._lane.table) > 31:
            raise PenstockError("the name is too long")
        return super().lay(batch, partition, epoch)


class StagesMilliseconds(Honest):
    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        dates = [n for n, t in rows.schema.items() if t == pl.Datetime("us", "UTC")]
        return super().stage_apart(place, rows.with_columns(pl.col(dates).dt.truncate("1ms")))


class LastReceiptWins(Honest):
    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        if rows["_partition"].n_unique() == 2 and rows.height == 3:
            rows = rows.with_columns(_order=pl.Series([10, 20, 15]))
        return super()._write(rows)


class CountsApartAnew(Honest):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        moved = super().commit(receipts, steps)
        if self._lane.table == "there" and all(now.next == 96 for now in moved.values()):
            self._store.tables["there"].by_key.popitem()
        return moved


class WritesTheOthersApart(Honest):
    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        if self._refused(rows).any():
            self._write(rows.filter(~self._refused(rows)))
        return super().stage_apart(place, rows)


def _counts(rows: pl.DataFrame) -> dict[int, int]:
    return dict(rows["_partition"].value_counts().iter_rows())


BROKEN: dict[str, type[Honest]] = {
    "a_new_lane_stands_at_zero": BeginsSomewhere,
    "nothing_is_visible_before_the_commit": ShowsStagedRows,
    "a_commit_shows_exactly_the_rows": LosesARow,
    "a_commit_moves_the_progress": ForgetsThePlan,
    "a_commit_without_rows_moves_the_progress": SkipsEmptyCommits,
    "an_empty_frame_can_be_staged": RefusesEmptyFrames,
    "several_frames_make_one_commit": KeepsOneFrame,
    "totals_go_on": StartsTotalsAnew,
    "each_partition_is_counted": MixesPartitionsUp,
    "a_replay_is_counted_under_its_own_partition": CountsReplaysByOrigin,
    "a_claim_tells_where_the_predecessor_stood": ForgetsWhereItStood,
    "the_same_epoch_may_claim_again": ClaimsOnce,
    "a_lower_epoch_cannot_claim": LetsLowerEpochsClaim,
    "a_predecessor_cannot_commit": IgnoresEpochs,
    "a_stalled_predecessor_holds_nobody_up": LocksTheLane,
    "partitions_are_fenced_one_by_one": FencesTheWholeLane,
    "a_commit_from_another_place_is_fenced": IgnoresThePlace,
    "receipts_must_count_what_is_staged": TrustsReceipts,
    "a_crash_before_the_commit_leaves_nothing": CommitsOnClose,
    "a_rollback_forgets_what_is_staged": NeverRollsBack,
    "isolate_keeps_nothing": KeepsWhatItIsolates,
    "open_twice_changes_nothing": TruncatesOnOpen,
    "a_preview_writes_nothing": OpensForAPreview,
    "hostile_names_work": CutsNames,
    "every_type_comes_back_without_loss": StoresMilliseconds,
    "lanes_do_not_share_progress": SharesProgress,
    "a_newer_row_replaces": NeverReplaces,
    "an_older_row_never_replaces": IgnoresOrder,
    "the_newest_of_a_batch_wins": LastInFrameWins,
    "the_last_of_one_record_wins": IgnoresIndex,
    "a_delete_removes_the_row": CountsOnlyRealDeletes,
    "an_older_delete_removes_nothing": DeletesWhateverIsThere,
    "a_late_row_does_not_come_back_after_a_delete": ForgetsDeletes,
    "a_newer_row_comes_back_after_a_delete": BuriesForEver,
    "a_delete_and_a_newer_row_in_one_batch": DeletesLast,
    "a_rejected_row_writes_nothing": WritesTheOthers,
    "isolate_names_exactly_the_rejected_rows": NamesTooMany,
    "isolate_finds_rows_rejected_only_together": NamesBothOfTwo,
    "what_isolate_leaves_is_taken": MissesTheGuilty,
    "a_lost_connection_is_unavailable": SaysRejectedWhenCut,
    "a_sink_goes_on_after_a_lost_connection": NeverReconnects,
    "apart_is_invisible_before_the_commit": ShowsWhatIsApart,
    "several_stage_apart_at_once": KeepsOneReceipt,
    "only_what_receipts_name_is_committed": CommitsWhatNobodyNamed,
    "a_task_that_comes_too_late_disturbs_nobody": CannotBearLateTasks,
    "one_who_was_overtaken_cannot_commit_what_was_staged_apart": CommitsForTheOvertaken,
    "a_successor_commits_what_its_own_tasks_staged": SweepsItsOwn,
    "rows_that_are_lost_are_noticed": TrustsReceiptsFromApart,
    "the_owner_may_stage_some_rows_itself": ForgetsWhatIsHere,
    "no_rows_can_be_staged_apart": RefusesEmptyFramesApart,
    "a_replay_is_never_staged_apart": TakesReplaysApart,
    "hostile_names_work_apart": CutsNamesApart,
    "every_type_goes_apart_without_loss": StagesMilliseconds,
    "the_newest_of_several_receipts_wins": LastReceiptWins,
    "apart_writes_and_counts_what_here_does": CountsApartAnew,
    "a_row_rejected_apart_writes_nothing": WritesTheOthersApart,
}

ALSO: dict[str, set[str]] = {
    "a_commit_moves_the_progress": {
        "a_claim_tells_where_the_predecessor_stood",
        "a_commit_from_another_place_is_fenced",
        "open_twice_changes_nothing",
    },
    "several_frames_make_one_commit": {
        "several_stage_apart_at_once",
        "the_owner_may_stage_some_rows_itself",
        "apart_writes_and_counts_what_here_does",
        "the_newest_of_several_receipts_wins",
    },
    "totals_go_on": {
        "a_newer_row_replaces",
        "an_older_delete_removes_nothing",
        "a_task_that_comes_too_late_disturbs_nobody",
    },
    "each_partition_is_counted": {
        "an_older_row_never_replaces",
        "several_stage_apart_at_once",
        "the_newest_of_several_receipts_wins",
    },
    "receipts_must_count_what_is_staged": {"rows_that_are_lost_are_noticed"},
    "hostile_names_work": {"hostile_names_work_apart"},
    "every_type_comes_back_without_loss": {"every_type_goes_apart_without_loss"},
    "apart_is_invisible_before_the_commit": {
        "rows_that_are_lost_are_noticed",
        "a_replay_is_never_staged_apart",
        "a_row_rejected_apart_writes_nothing",
    },
}
"""Checks that the same fault breaks as well, because they look at the same thing."""

EVERYWHERE = {"a_commit_shows_exactly_the_rows"}
"""Checks whose fault breaks most others."""

SUITES = (
    SinkConformance,
    KeyedSinkConformance,
    RejectingSinkConformance,
    RemoteSinkConformance,
    ApartSinkConformance,
    KeyedApartSinkConformance,
    RejectingApartSinkConformance,
)


def checks() -> dict[str, Callable[[SinkStore], object]]:
    found: dict[str, Callable[[SinkStore], object]] = {}
    for suite in SUITES:
        for name in vars(suite):
            if name.startswith("test_"):
                found[name.removeprefix("test_")] = getattr(suite(), name)
    for name in ("hostile_names_work", "hostile_names_work_apart"):
        found[name] = _for_each(found[name])
    return found


def _for_each(check: Callable[..., object]) -> Callable[[SinkStore], object]:
    return lambda store: [check(store, name) for name in HOSTILE]


def failures(made: type[Honest]) -> set[str]:
    failed = set()
    for name, check in checks().items():
        try:
            check(Store(made))
        except (AssertionError, PenstockError, pytest.fail.Exception):
            failed.add(name)
    return failed


def test_every_check_has_a_sink_that_fails_it() -> None:
    assert BROKEN.keys() == checks().keys()


def test_an_honest_sink_passes() -> None:
    assert failures(Honest) == set()


@pytest.mark.parametrize("check", BROKEN)
def test_the_check_fails_and_no_other(check: str) -> None:
    failed = failures(BROKEN[check])
    assert check in failed
    assert check in EVERYWHERE or failed == {check} | ALSO.get(check, set())
