"""What the suites allow a store that tells less, as Cassandra does, lets nothing else through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.conformance.test_sink_checks_can_fail import Honest, Moved, Steps, Store, checks

from penstock.errors import PenstockError, Refused
from penstock.records import Receipt
from penstock.testing.conformance import SinkStore


class Loose(Honest):
    """Keeps every promise; counts what comes too late as done, and mends its connection."""

    def open(self) -> None:
        if len(self._lane.table) > 31:
            raise Refused(f"there can be no table {self._lane.table!r}")
        super().open()

    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        self.is_cut = False
        return super().commit(receipts, steps)

    def _apply(self, table: Any, row: dict[str, Any]) -> str:
        super()._apply(table, row)
        return "deleted" if row["_deleted"] else "written"


class LooseStore(Store):
    tells_late = False
    mends = True

    def takes_name(self, name: str) -> bool:
        return len(name) <= 31


class ForgetsRowsWhenCut(Loose):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        if self.is_cut:
            self._staged = [frame.clear() for frame in self._staged]
            receipts = []
        return super().commit(receipts, steps)


class ForgetsProgressWhenCut(Loose):
    def commit(self, receipts: Sequence[Receipt], steps: Steps) -> Moved:
        was_cut = self.is_cut
        moved = super().commit(receipts, steps)
        if was_cut:
            self._store.progress.update({(self._key, p): s.before for p, s in steps.items()})
        return moved


class RefusesWithoutTheName(Loose):
    def open(self) -> None:
        try:
            super().open()
        except Refused:
            raise Refused("no such table") from None


class TakesEveryName(Loose):
    def open(self) -> None:
        Honest.open(self)


class CountsWhatCameTooLate(Loose):
    def _apply(self, table: Any, row: dict[str, Any]) -> str:
        return Honest._apply(self, table, row)


class ForgetsLateRows(Loose):
    def _apply(self, table: Any, row: dict[str, Any]) -> str:
        done = Honest._apply(self, table, row)
        return "filtered" if done == "superseded" else done


LATE = {
    "an_older_row_never_replaces",
    "an_older_delete_removes_nothing",
    "a_late_row_does_not_come_back_after_a_delete",
}
BROKEN: dict[type[Loose], set[str]] = {
    ForgetsRowsWhenCut: {"a_lost_connection_is_unavailable"},
    ForgetsProgressWhenCut: {"a_lost_connection_is_unavailable"},
    RefusesWithoutTheName: {"hostile_names_work"},
    TakesEveryName: {"hostile_names_work"},
    CountsWhatCameTooLate: LATE,
    ForgetsLateRows: LATE,
}


def failures(made: type[Honest], store: type[Store]) -> set[str]:
    failed = set()
    for name, check in checks().items():
        under_test: SinkStore = store(made)
        try:
            check(under_test)
        except (AssertionError, PenstockError, pytest.fail.Exception):
            failed.add(name)
    return failed


def test_a_loose_sink_passes_as_such() -> None:
    assert failures(Loose, LooseStore) == set()


def test_a_loose_sink_fails_where_nothing_is_allowed() -> None:
    found = failures(Loose, Store)
    names = {"hostile_names_work", "hostile_names_work_apart"}
    assert found == LATE | names | {"a_lost_connection_is_unavailable"}


@pytest.mark.parametrize("made", BROKEN, ids=lambda made: made.__name__)
def test_a_broken_loose_sink_fails(made: type[Loose]) -> None:
    assert failures(made, LooseStore) == BROKEN[made]
