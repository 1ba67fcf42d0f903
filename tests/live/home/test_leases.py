"""Leases on a real server: who gets what, and when a holder is thought dead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from penstock.errors import Fenced, Unavailable
from penstock.home import leases
from penstock.home.database import Home
from penstock.home.leases import Claimant
from penstock.postgresql import connection

TTL = 60.0


def claimant(owner: str) -> Claimant:
    return Claimant("users", "raw_users", owner, host="here", pid=1)


def test_free_partitions_are_taken_and_held_ones_are_not(home: Home) -> None:
    with home.transaction() as cursor:
        assert set(leases.acquire(cursor, claimant("a"), [0, 1], TTL)) == {0, 1}
        assert set(leases.acquire(cursor, claimant("b"), [0, 1, 2], TTL)) == {2}
        held = {holder.partition: holder.owner for holder in leases.holders(cursor, "users")}
    assert held == {0: "a", 1: "a", 2: "b"}


def test_a_released_lease_is_free_and_its_epoch_grows(home: Home) -> None:
    with home.transaction() as cursor:
        first = leases.acquire(cursor, claimant("a"), [0], TTL)
        leases.release(cursor, claimant("b"), [0])
        assert leases.acquire(cursor, claimant("b"), [0], TTL) == {}
        leases.release(cursor, claimant("a"), [0])
        assert leases.holders(cursor, "users") == []
        assert leases.acquire(cursor, claimant("b"), [0], TTL)[0] > first[0]


def test_epochs_grow_though_the_clock_jumps_back(home: Home) -> None:
    with home.transaction() as cursor:
        leases.acquire(cursor, claimant("a"), [0], TTL)
        cursor.execute("UPDATE penstock.leases SET epoch = 4000000000000")
        assert leases.take_over(cursor, claimant("b"), [0], TTL) == {0: 4000000000001}


def test_epochs_grow_though_home_was_restored(home: Home) -> None:
    with home.transaction() as cursor:
        before = leases.acquire(cursor, claimant("a"), [0], TTL)[0]
        cursor.execute("DELETE FROM penstock.leases; SELECT pg_sleep(0.002)")
        assert leases.acquire(cursor, claimant("b"), [0], TTL)[0] > before


def test_a_lease_expires_by_the_clock_of_the_server(home: Home) -> None:
    with home.transaction() as cursor:
        first = leases.acquire(cursor, claimant("a"), [0], -1)
        assert leases.holders(cursor, "users") == []
        second = leases.acquire(cursor, claimant("b"), [0], TTL)
        assert leases.renew(cursor, claimant("a"), first, TTL) == {0}
        assert leases.renew(cursor, claimant("b"), second, TTL) == set()


def test_an_expired_lease_that_nobody_took_is_renewed(home: Home) -> None:
    with home.transaction() as cursor:
        mine = leases.acquire(cursor, claimant("a"), [0], -1)
        assert leases.renew(cursor, claimant("a"), mine, TTL) == set()
        assert leases.acquire(cursor, claimant("b"), [0], TTL) == {}


def test_the_leases_of_a_dead_session_are_free_at_once(home: Home, database: str) -> None:
    with Home(database) as other, other.transaction() as cursor:
        leases.acquire(cursor, claimant("a"), [0], TTL)
    wait_for_end_of_other_sessions(home)
    with home.transaction() as cursor:
        assert set(leases.acquire(cursor, claimant("b"), [0], TTL)) == {0}


def test_a_holder_that_reconnects_keeps_its_epoch(home: Home, database: str) -> None:
    with home.transaction() as cursor:
        mine = leases.acquire(cursor, claimant("a"), [0], TTL)
    terminate(home, database)
    with pytest.raises(Unavailable), home.transaction() as cursor:
        leases.renew(cursor, claimant("a"), mine, TTL)
    home.open()
    with home.transaction() as cursor:
        assert leases.renew(cursor, claimant("a"), mine, TTL) == set()
        assert leases.acquire(cursor, claimant("b"), [0], TTL) == {}


def test_a_takeover_fences_the_holder(home: Home) -> None:
    with home.transaction() as cursor:
        mine = leases.acquire(cursor, claimant("a"), [0], TTL)
        leases.check(cursor, "users", "raw_users", mine)
        taken = leases.take_over(cursor, claimant("b"), [0, 1], TTL)
        assert set(taken) == {0, 1}
        with pytest.raises(Fenced, match="process 1 on here"):
            leases.check(cursor, "users", "raw_users", mine)
        assert leases.renew(cursor, claimant("a"), mine, TTL) == {0}


def test_a_takeover_ends_a_transaction_in_which_the_holder_was_stopped(
    home: Home, database: str
) -> None:
    with Home(database) as stopped:
        with stopped.transaction() as cursor:
            mine = leases.acquire(cursor, claimant("a"), [0], TTL)
        with pytest.raises(Unavailable), stopped.transaction() as inside:
            leases.renew(inside, claimant("a"), mine, TTL)
            with home.transaction() as cursor:
                assert leases.acquire(cursor, claimant("b"), [0], TTL) == {}
                assert leases.take_over(cursor, claimant("b"), [0], TTL)[0] > mine[0]


@pytest.mark.parametrize("sent", [False, True])
def test_a_process_stopped_while_it_writes_keeps_no_successor_out(
    home: Home, database: str, sent: bool
) -> None:
    """Also one whose server waits for the rest of what it sends: no time-out ends that."""
    with home.transaction() as cursor:
        mine = leases.acquire(cursor, claimant("a"), [0], -1)
    with closing(connection.connect(database, name="home")) as stopped:
        cursor = stopped.cursor()
        cursor.execute("BEGIN")
        leases.check(cursor, "users", "raw_users", mine)
        if sent:
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
            stopped.pgconn.enter_pipeline_mode()
            stopped.pgconn.send_query_params(b"SELECT 1", None)
            stopped.pgconn.send_flush_request()
            stopped.pgconn.flush()
        taken = _until_taken(home, leases.acquire)
        assert taken[0] > mine[0]


def test_a_takeover_goes_past_a_process_stopped_while_it_writes(home: Home, database: str) -> None:
    with home.transaction() as cursor:
        mine = leases.acquire(cursor, claimant("a"), [0], TTL)
    with closing(connection.connect(database, name="home")) as stopped:
        cursor = stopped.cursor()
        cursor.execute("BEGIN")
        leases.check(cursor, "users", "raw_users", mine)
        assert _until_taken(home, leases.take_over)[0] > mine[0]


def _until_taken(home: Home, take: Callable[..., dict[int, int]]) -> dict[int, int]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with home.transaction() as cursor:
                if taken := take(cursor, claimant("b"), [0], TTL):
                    return taken
        except Unavailable:
            continue
    raise AssertionError("it was never taken")


def test_of_two_at_once_one_gets_the_lease(home: Home, database: str) -> None:
    got: list[dict[int, int]] = []

    def run(owner: str, barrier: threading.Barrier) -> None:
        with Home(database) as mine, mine.transaction() as cursor:
            barrier.wait()
            got.append(leases.acquire(cursor, claimant(owner), range(20), TTL))
            barrier.wait()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=run, args=(f"{i}", barrier)) for i in range(4)]
    with home.transaction() as cursor:
        leases.acquire(cursor, claimant("first"), range(20), TTL)
        leases.release(cursor, claimant("first"), range(20))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [partition for epochs in got for partition in epochs]
    assert sorted(taken) == list(range(20))


def terminate(home: Home, database: str) -> None:
    with home.transaction() as cursor:
        pid = cursor.connection.info.backend_pid
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def wait_for_end_of_other_sessions(home: Home) -> None:
    with home.transaction() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
