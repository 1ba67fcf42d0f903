"""The ledger on a real server: contiguous, exact, closed twice without harm."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live.home.work import Work, letter, records

from penstock.home import batches, deadletters, ledger, letters, upkeep
from penstock.home.database import Cursor, Home
from penstock.home.latency import Histogram
from penstock.home.ledger import VISIBLE, Closing, Tail
from penstock.records import Counts, LaneKey, Progress, Span

KEY = LaneKey("users", "log-1", "clicks", "a@one")
A = KEY.lane


def closing(
    end: int, totals: Counts, *, plan: str = "plan", timings: Histogram | None = None
) -> Closing:
    found = {VISIBLE: timings} if timings else {}
    return Closing(KEY, 0, Progress(end, 1, totals, plan=plan), found)


def spans(cursor: Cursor) -> list[tuple[int, int]]:
    return [(e.span.start, e.span.end) for e in ledger.entries(cursor, KEY, 0)]


def test_entries_are_the_differences_of_the_totals(home: Home) -> None:
    with home.transaction() as cursor:
        ledger.close(cursor, [closing(10, Counts(records=10, written=9, dead=1))])
        ledger.close(cursor, [closing(30, Counts(records=28, absent=2, written=25, dead=3))])
        first, second = ledger.entries(cursor, KEY, 0)
        assert (first.span, first.counts) == (Span(0, 10), Counts(records=10, written=9, dead=1))
        assert second.span == Span(10, 30)
        assert second.counts == Counts(records=18, absent=2, written=16, dead=2)
        assert first.balanced
        assert second.balanced
        assert second.plan == "plan"
        total = Counts(records=28, absent=2, written=25, dead=3)
        assert ledger.tails(cursor, "users") == {(KEY, 0): Tail(30, total)}
        assert ledger.tails(cursor, "others") == {}


def test_closing_twice_or_late_changes_nothing(home: Home) -> None:
    early = closing(10, Counts(records=10, written=10))
    late = closing(20, Counts(records=20, written=20))
    with home.transaction() as cursor:
        for one in (early, early, late, early, late):
            ledger.close(cursor, [one])
        assert spans(cursor) == [(0, 10), (10, 20)]


def test_a_close_makes_up_for_a_lost_one(home: Home) -> None:
    with home.transaction() as cursor:
        ledger.close(cursor, [closing(10, Counts(records=10, written=10))])
        ledger.close(cursor, [closing(40, Counts(records=40, written=40))])
        assert spans(cursor) == [(0, 10), (10, 40)]


def test_a_store_that_was_restored_takes_entries_back(home: Home) -> None:
    with home.transaction() as cursor:
        for end in (10, 20, 30, 40):
            ledger.close(cursor, [closing(end, Counts(records=end, written=end - 1, dead=1))])
        restored = closing(25, Counts(records=25, written=24, dead=1))
        assert ledger.align(cursor, [restored]) == [restored]
        assert ledger.align(cursor, [restored]) == []
        assert spans(cursor) == [(0, 10), (10, 20), (20, 25)]
        assert all(entry.balanced for entry in ledger.entries(cursor, KEY, 0))
        ledger.close(cursor, [closing(40, Counts(records=40, written=35, dead=5))])
        assert ledger.entries(cursor, KEY, 0)[-1].counts == Counts(records=15, written=11, dead=4)
        start = closing(0, Counts())
        assert ledger.align(cursor, [start]) == [start]
        assert spans(cursor) == []
        assert ledger.tails(cursor, "users") == {(KEY, 0): Tail(0, Counts())}


def test_align_brings_a_ledger_that_is_behind_up(home: Home) -> None:
    with home.transaction() as cursor:
        assert ledger.align(cursor, [closing(25, Counts(records=25, written=25))]) == []
        assert spans(cursor) == [(0, 25)]


def test_a_home_restored_from_a_backup_balances_again_and_names_missing_letters(
    home: Home,
) -> None:
    with home.transaction() as cursor:
        ledger.align(cursor, [closing(25, Counts(records=25, written=24, dead=1))])
        (wrong,) = deadletters.imbalances(cursor, "users")
        assert (wrong.key, wrong.partition, wrong.ledger, wrong.letters) == (KEY, 0, 1, 0)


def test_a_store_that_was_restored_makes_its_letters_pending(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        batch = work.open(cursor, {0: Span(0, 10)}, A)
        work.run(cursor, batch, [letter(3, A)], records(range(10)))
        ledger.align(cursor, [closing(0, Counts())])
        (group,) = deadletters.causes(cursor, deadletters.Selection("users"))
        assert group.states == {"pending": 1}
        work.totals.clear()
        batch = work.open(cursor, {0: Span(0, 10)}, A)
        work.run(cursor, batch, [letter(4, A)], records(range(10)))
        assert deadletters.imbalances(cursor, "users") == []


def test_a_batch_stays_open_for_the_lanes_that_have_not_committed(home: Home) -> None:
    work = Work()
    with home.transaction() as cursor:
        work.take(cursor)
        batch = work.open(cursor, {0: Span(0, 10), 1: Span(5, 6)}, "a", "b")
        batches.finish(cursor, batch, ["a"])
        (left,) = batches.open_batches(cursor, "users", "clicks")
        assert (left.id, left.lanes, left.spans) == (batch.id, ("b",), batch.spans)
        (half,) = batches.open_batches(cursor, "users", "clicks", [1])
        assert half.spans == {1: Span(5, 6)}
        work.take(cursor)
        adopted = batches.adopt(cursor, half, work.epochs)
        assert adopted.attempts == 2
        letters.record(cursor, adopted, ["b"], [], records([]))
        batches.finish(cursor, adopted, ["b"])
        (left,) = batches.open_batches(cursor, "users", "clicks")
        assert left.spans == {0: Span(0, 10)}
        batches.finish(cursor, batch, ["a", "b"])
        batches.finish(cursor, batch, ["a", "b"])
        assert batches.open_batches(cursor, "users", "clicks") == []


amounts = st.integers(0, 1_000)
histograms = st.dictionaries(st.integers(0, 300), st.integers(1, 10**9), max_size=5).map(Histogram)
steps = st.builds(
    lambda written, dead, absent, expanded: Counts(
        records=written + dead,
        absent=absent + 1,
        expanded=expanded,
        written=written + expanded,
        dead=dead,
    ),
    amounts,
    amounts,
    amounts,
    amounts,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(steps, histograms, st.integers(0, 4)), min_size=1, max_size=12))
def test_merging_loses_nothing(home: Home, work: list[tuple[Counts, Histogram, int]]) -> None:
    with home.transaction() as cursor:
        cursor.execute("TRUNCATE penstock.ledger, penstock.tails")
        totals, end, everything = Counts(), 0, Histogram()
        for counts, histogram, minutes in work:
            totals, end = totals + counts, end + counts.records + counts.absent
            everything.merge(histogram)
            ledger.close(cursor, [closing(end, totals, timings=histogram)])
            cursor.execute(
                "UPDATE penstock.ledger SET closed_at = closed_at - %s",
                [timedelta(minutes=minutes)],
            )
        before = ledger.entries(cursor, KEY, 0)
        upkeep.tidy(cursor)
        merged = ledger.entries(cursor, KEY, 0)
        assert len(merged) <= len(before)
        assert [e.span.start for e in merged] == [0] + [e.span.end for e in merged[:-1]]
        assert merged[-1].span.end == end
        assert all(entry.balanced for entry in merged)
        assert sum((entry.counts for entry in merged), Counts()) == totals
        assert sum(entry.batches for entry in merged) == len(work)
        together = Histogram()
        for entry in merged:
            together.merge(entry.timings.get(VISIBLE, Histogram()))
        assert together == everything
        assert merged[-1].plan == before[-1].plan


def test_old_neighbours_become_one_entry_and_recent_ones_stay(home: Home) -> None:
    with home.transaction() as cursor:
        for end in range(1, 11):
            ledger.close(cursor, [closing(end, Counts(records=end, written=end))])
        cursor.execute(
            "UPDATE penstock.ledger SET closed_at = timestamptz '2026-01-02 03:04:05+00'"
            " + start_offset * interval '10 s' WHERE start_offset < 8"
        )
        upkeep.tidy(cursor, (upkeep.Age(120, 60),))
        assert spans(cursor) == [(0, 6), (6, 8), (8, 9), (9, 10)]
        upkeep.tidy(cursor)
        assert spans(cursor) == [(0, 8), (8, 9), (9, 10)]


def test_what_different_code_made_stays_apart(home: Home) -> None:
    with home.transaction() as cursor:
        for end, plan in enumerate("aabbba", start=1):
            ledger.close(cursor, [closing(end, Counts(records=end, written=end), plan=plan)])
        cursor.execute("UPDATE penstock.ledger SET closed_at = '2026-01-02 03:04:05+00'")
        upkeep.tidy(cursor)
        assert [(e.span.end, e.plan) for e in ledger.entries(cursor, KEY, 0)] == [
            (2, "a"),
            (5, "b"),
            (6, "a"),
        ]


@pytest.mark.parametrize("missing", [1, 5])
def test_merging_never_hides_a_gap(home: Home, missing: int) -> None:
    with home.transaction() as cursor:
        for end in range(1, 11):
            ledger.close(cursor, [closing(end, Counts(records=end, written=end))])
        cursor.execute("UPDATE penstock.ledger SET closed_at = '2026-01-02 03:04:05+00'")
        cursor.execute("DELETE FROM penstock.ledger WHERE start_offset = %s", [missing])
        upkeep.tidy(cursor)
        assert spans(cursor) == [(0, missing), (missing + 1, 10)]
