"""A process that was stopped in the middle of what it sent to home keeps nobody waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

import psycopg
import pytest

from penstock.engines import preparing
from penstock.engines.ownership import Ownership
from penstock.engines.stopping import Stop
from penstock.errors import Unavailable
from penstock.home import contracts, ledger
from penstock.home.database import Cursor, Home
from penstock.home.ledger import Closing
from penstock.postgresql import connection, stalls
from penstock.records import Counts, LaneKey, Progress

KEY = LaneKey("users", "log-1", "clicks", "a@one")


def enter(cursor: Cursor, end: int) -> None:
    """Close a micro-batch."""
    totals = Counts(records=end, written=end)
    ledger.close(cursor, [Closing(KEY, 0, Progress(end, 1, totals))])


@contextmanager
def half_sent(database: str, name: str = "home") -> Iterator[Cursor]:
    """A transaction whose last pipeline never ends, which no time-out of the server's counts."""
    with closing(connection.connect(database, name=name)) as stopped:
        stopped.execute("SET statement_timeout = 0")
        cursor = stopped.cursor()
        cursor.execute("BEGIN")
        yield cursor


def stop_half_way(cursor: Cursor) -> None:
    wire = cursor.connection.pgconn
    wire.enter_pipeline_mode()
    wire.send_query_params(b"SELECT 1", None)
    wire.send_flush_request()
    wire.flush()


@contextmanager
def heart(database: str) -> Iterator[None]:
    """The heartbeat of a run."""
    stop = Stop()
    with Home(database, name="leases") as leases:
        ownership = Ownership(leases, "users", 30, take_over=False, revive=lambda: None)
        beating = Thread(target=ownership.run, args=(stop,))
        beating.start()
        try:
            yield
        finally:
            stop.set()
            ownership.recheck()
            beating.join()


def test_a_successor_s_ledger_goes_past_a_process_stopped_in_its_close(
    home: Home, database: str
) -> None:
    with half_sent(database) as cursor:
        enter(cursor, 10)
        stop_half_way(cursor)
        with heart(database), home.transaction() as mine:
            enter(mine, 20)
    with home.transaction() as mine:
        assert [entry.span.end for entry in ledger.entries(mine, KEY, 0)] == [20]


def test_a_start_goes_past_a_process_stopped_in_its_start(home: Home, database: str) -> None:
    with half_sent(database) as cursor:
        contracts.admit(cursor, "users", [])
        stop_half_way(cursor)
        assert preparing.admit(home, "users", []) == []


def test_a_first_start_goes_past_a_process_stopped_in_its_own(database: str) -> None:
    with half_sent(database) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [0x70656E73746F636B])
        stop_half_way(cursor)
        with Home(database) as home, home.transaction() as mine:
            assert ledger.tails(mine, "users") == {}


def test_sessions_of_others_are_left_alone(
    home: Home, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is, of no Penstock's: what waits for them gives up, and says what can be done."""
    monkeypatch.setitem(connection._SESSION, "lock_timeout", "4s")
    with psycopg.connect(database, application_name="psql") as other:
        other.execute("LOCK TABLE penstock.lanes")
        with (
            Home(database) as waiting,
            heart(database),
            pytest.raises(Unavailable, match="end that session"),
            waiting.transaction() as mine,
        ):
            enter(mine, 10)
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_process_at_work_is_waited_for(home: Home, database: str) -> None:
    with half_sent(database) as cursor:
        enter(cursor, 10)
        waited = []

        def wait() -> None:
            with stalls.attended(database), home.transaction() as mine:
                enter(mine, 20)
                waited.append(True)

        waiting = Thread(target=wait)
        waiting.start()
        deadline = time.monotonic() + 3 * stalls.STALLED
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_sleep(1)")
        assert not waited
        cursor.execute("COMMIT")
        waiting.join()
    with home.transaction() as mine:
        assert [entry.span.end for entry in ledger.entries(mine, KEY, 0)] == [10, 20]
