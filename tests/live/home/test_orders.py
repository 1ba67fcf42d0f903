"""Order stamps grow, whatever clocks and logs do."""

from __future__ import annotations

import threading
import time

from tests.live.home.work import Work

from penstock.home import ledger, orders
from penstock.home.database import Cursor, Home
from penstock.records import Counts, LaneKey, Progress, Span

FUTURE = 4_000_000_000_000_000  # the year 2096, as if the clock had been wrong


def clock_was_ahead(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO penstock.order_bases VALUES ('older', 0, %s, 50)", [FUTURE])


def test_a_base_is_now_and_stays(home: Home) -> None:
    with home.transaction() as cursor:
        first = orders.bases(cursor, "log-1", {0: 0, 1: 10})
        assert abs(first[0] - time.time_ns() // 1000) < 3_600_000_000
        assert orders.bases(cursor, "log-1", {0: 500, 1: 900}) == first


def test_a_clock_that_jumps_back_moves_no_stamp_back(home: Home) -> None:
    with home.transaction() as cursor:
        clock_was_ahead(cursor)
        assert orders.bases(cursor, "log-1", {0: 0}) == {0: FUTURE + 51}


def test_an_added_partition_comes_after_all_that_was_stamped(home: Home) -> None:
    with home.transaction() as cursor:
        clock_was_ahead(cursor)
        assert orders.bases(cursor, "older", {0: 1_000}) == {0: FUTURE}
        assert orders.bases(cursor, "older", {0: 5_000, 1: 0}) == {0: FUTURE, 1: FUTURE + 5_001}


def test_a_recreated_log_comes_after_what_was_done_of_the_old_one(home: Home) -> None:
    key = LaneKey("users", "older", "clicks", "a@one")
    work = Work("older")
    with home.transaction() as cursor:
        clock_was_ahead(cursor)
        progress = Progress(700, 1, Counts(records=700, written=700))
        ledger.close(cursor, [ledger.Closing(key, 0, progress)])
        assert orders.bases(cursor, "newer", {0: 0}) == {0: FUTURE + 701}
        work.take(cursor)
        work.open(cursor, {0: Span(700, 900)}, "a@one")
        assert orders.bases(cursor, "newest", {0: 0}) == {0: FUTURE + 901}


def test_two_processes_agree_on_the_base(home: Home, database: str) -> None:
    found: list[dict[int, int]] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        with Home(database) as mine:
            barrier.wait()
            with mine.transaction() as cursor:
                found.append(orders.bases(cursor, "log-1", {0: 0, 1: 0}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(bases == found[0] for bases in found)
