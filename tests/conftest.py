"""Fixtures for all tests: a real PostgreSQL, and a fresh database of it for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from penstock.services.postgresql import EmbeddedPostgresql

pytest_plugins = ["tests.shop", "tests.stack.fixtures"]


class Server:
    """The PostgreSQL of this test session."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str = "postgres") -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}/{quote(database, safe='')}?{parts.query}"

    def create(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop(self, name: str) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._run(statement.format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", metavar="URL", help="test with this server, not our own")


@pytest.fixture(scope="session")
def postgres(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Start a PostgreSQL for the whole session, or take the one of `--postgres`."""
    if given := pytestconfig.getoption("--postgres"):
        yield Server(given)
        return
    root = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgresql(root / ".penstock").session() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield Server(url)


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """Give the URL of a database that only this test uses."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)
