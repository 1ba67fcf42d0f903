"""Home's database: first starts, other people's tables, few rights, lost connections."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.home import leases
from penstock.home.database import Home, preview, versions
from penstock.home.leases import Claimant


def tables(database: str) -> int:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'penstock'"
        ).fetchone()
    assert found
    return int(found[0])


def test_several_first_starts_at_once_make_one_home(database: str) -> None:
    errors: list[PenstockError] = []
    barrier = threading.Barrier(5)

    def start() -> None:
        barrier.wait()
        try:
            with Home(database):
                pass
        except PenstockError as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Home(database) as home, home.transaction() as cursor:
        cursor.execute("SELECT version FROM penstock.meta")
        assert cursor.fetchall() == [(len(versions()),)]


def test_a_home_of_a_newer_version_is_refused(database: str) -> None:
    with Home(database) as home, home.transaction() as cursor:
        cursor.execute("UPDATE penstock.meta SET version = 99")
    with pytest.raises(Refused, match=r"version 99.*Upgrade Penstock"):
        Home(database).open()


def test_a_preview_says_what_would_be_made_and_makes_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "creates" in preview(database)[0]
    assert tables(database) == 0
    with Home(database):
        assert preview(database) == []
    monkeypatch.setattr("penstock.home.database.versions", lambda: [*versions(), "SELECT 1"])
    assert "from version 1 to 2" in preview(database)[0]
    with Home(database):
        assert preview(database) == []
    monkeypatch.undo()
    with pytest.raises(Refused, match="version 2"):
        preview(database)


def test_a_failed_migration_leaves_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*versions(), "CREATE TABLE penstock.more (id int); SELECT 1 / 0"]
    monkeypatch.setattr("penstock.home.database.versions", lambda: broken)
    with pytest.raises(PenstockError):
        Home(database).open()
    assert tables(database) == 0


def test_a_home_lives_beside_tables_of_others(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA penstock; CREATE TABLE penstock.progress (mine int)")
        connection.execute(
            "CREATE TABLE public.letters (mine int); CREATE TABLE public.lanes (mine int)"
        )
    with Home(database) as home, home.transaction() as cursor:
        assert leases.holders(cursor, "users") == []


def test_create_on_the_database_is_all_that_home_needs(database: str) -> None:
    role = urlsplit(database).path.strip("/") + "_role"
    name = sql.Identifier(role)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        url = _as(database, role)
        try:
            with pytest.raises(Refused, match="permission denied"):
                Home(url).open()
            connection.execute(
                sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                    sql.Identifier(connection.info.dbname), name
                )
            )
            with Home(url) as home, home.transaction() as cursor:
                me = Claimant("users", "clicks", "me", "here", 1)
                assert 0 in leases.acquire(cursor, me, [0], 60)
                assert 0 in leases.take_over(cursor, me, [0], 60)
            connection.execute(
                sql.SQL("REVOKE CREATE ON DATABASE {} FROM {}").format(
                    sql.Identifier(connection.info.dbname), name
                )
            )
            with Home(url):
                pass
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(name))


def test_a_lost_connection_is_unavailable_until_home_is_opened_again(home: Home) -> None:
    with pytest.raises(Unavailable), home.transaction() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert not home.connected
    with pytest.raises(Unavailable, match="Open it again"), home.transaction():
        pass
    home.open()
    with home.transaction() as cursor:
        cursor.execute("SELECT 1")


def test_a_failed_transaction_leaves_nothing(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), home.transaction() as cursor:
        leases.acquire(cursor, Claimant("users", "clicks", "me", "here", 1), [0], 60)
        raise ZeroDivisionError
    with home.transaction() as cursor:
        assert leases.holders(cursor, "users") == []


def test_only_a_transaction_that_may_be_lost_does_not_wait_for_the_disk(home: Home) -> None:
    found = []
    for durable in (True, False, True):
        with home.transaction(durable=durable) as cursor:
            cursor.execute("SHOW synchronous_commit")
            found += cursor.fetchall()
    assert found == [("on",), ("off",), ("on",)]


def test_a_lock_time_out_is_unavailable(home: Home, database: str) -> None:
    me = Claimant("users", "clicks", "me", "here", 1)
    with Home(database) as other, home.transaction() as cursor:
        leases.acquire(cursor, me, [0], 60)
        with pytest.raises(Unavailable, match="lock"), other.transaction() as waiting:
            waiting.execute("SET LOCAL lock_timeout = '50ms'")
            waiting.execute("LOCK TABLE penstock.leases")


def _as(database: str, role: str) -> str:
    parts = urlsplit(database)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}@{host}"))
