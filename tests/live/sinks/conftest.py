"""Fixtures for tests of sinks on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from penstock import faults
from penstock.contract import Contract
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import KEY, Person, lane

MakeSink = Callable[..., PostgresqlSink]


@pytest.fixture
def sink(database: str) -> Iterator[MakeSink]:
    """Make sinks of the table `people`; opened unless told otherwise."""
    made: list[PostgresqlSink] = []

    def make(
        mode: str = "upsert", contract: type[Contract] = Person, *, opened: bool = True
    ) -> PostgresqlSink:
        made.append(PostgresqlSink(database, lane(contract, mode), KEY))
        if opened:
            made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def run(database: str) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """Run a statement as the user would in psql."""
    with psycopg.connect(database, autocommit=True, application_name="psql") as connection:
        connection.execute("SET search_path = public")

        def execute(statement: str) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement)
            return list(cursor) if cursor.description else []

        yield execute


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faults.disarm()
