from __future__ import annotations

import psycopg
import pytest

from penstock.errors import PenstockError, Refused, Rejected, Unavailable
from penstock.postgresql import connection


def test_split_takes_the_schema_out() -> None:
    url, schema = connection.split("postgresql://u@/db?host=%2Ftmp%2Fx&schema=we%20ird")
    assert schema == "we ird"
    assert url == "postgresql://u@/db?host=%2Ftmp%2Fx"


def test_split_without_schema_is_public() -> None:
    assert connection.split("postgresql://u:p%40w@h/db") == ("postgresql://u:p%40w@h/db", "public")


@pytest.mark.parametrize("schema", ["plain", 'quo"te', "sp ace", "back\\slash", "ünï%{}"])
def test_connect_sets_up_the_session(database: str, schema: str) -> None:
    from urllib.parse import quote

    with connection.connect(f"{database}&schema={quote(schema)}", name="a test") as session:
        session.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier(schema)))
        row = session.execute(
            "SELECT current_schema(), current_setting('application_name'),"
            " current_setting('timezone'), current_setting('idle_in_transaction_session_timeout')"
        ).fetchone()
    assert row == (schema, "penstock:a test", "UTC", "30s")
    assert session.autocommit


def test_no_server_is_unavailable() -> None:
    url = "postgresql://me:geheim@localhost:1/db"
    with pytest.raises(Unavailable) as caught:
        connection.connect(url, name="test")
    assert "geheim" not in str(caught.value)
    assert "me@localhost:1/db" in str(caught.value)


def test_no_such_database_is_refused(database: str) -> None:
    with pytest.raises(Refused, match="does not exist"):
        connection.connect(database.replace("/test_", "/nothing_"), name="test")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (None, Unavailable),
        ("08006", Unavailable),
        ("57P01", Unavailable),
        ("40P01", Unavailable),
        ("53100", Unavailable),
        ("55P03", Unavailable),
        ("25P03", Unavailable),
        ("22P02", Rejected),
        ("23505", Rejected),
        ("54000", Rejected),
        ("P0001", Rejected),
        ("42P01", Refused),
        ("28P01", Refused),
        ("0A000", Refused),
    ],
)
def test_classes(code: str | None, kind: type[PenstockError]) -> None:
    assert connection.code_class(code) is kind


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1/0", Rejected),
        ("SELECT * FROM nothing", Refused),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable),
    ],
)
def test_errors_translate(database: str, statement: str, kind: type[PenstockError]) -> None:
    session = connection.connect(database, name="test")
    with pytest.raises(kind), connection.errors():
        session.execute(statement)
    session.close()


def test_a_rejected_row_keeps_its_code(database: str) -> None:
    with connection.connect(database, name="test") as session:
        with pytest.raises(Rejected) as caught, connection.errors():
            session.execute("SELECT 'x'::int")
        assert caught.value.code == "22P02"
        with pytest.raises(Rejected), connection.errors():
            session.execute("SELECT %s", ["a\0b"])


def test_both_drivers_take_the_dsn(database: str) -> None:
    from adbc_driver_postgresql import dbapi

    url = connection.dsn(f"{database}&schema=a%20b", name="adbc")
    with dbapi.connect(url) as session, session.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), current_setting('search_path')")
        assert cursor.fetchone() == ("penstock:adbc", '"a b"')
