"""The stores that this repository's sinks are checked on."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from penstock.logs.topic_sink import TopicSink
from penstock.plan import Lane
from penstock.records import LaneKey
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance import SinkStore

CUT = sql.SQL(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE application_name LIKE 'penstock:%' AND datname = current_database()"
)


class PostgresqlStore(SinkStore):
    def __init__(self, url: str, mode: str) -> None:
        self.mode = mode
        self._url = url
        self._sinks: list[PostgresqlSink] = []

    def sink(self, lane: Lane, key: LaneKey) -> PostgresqlSink:
        self._sinks.append(PostgresqlSink(self._url, lane, key))
        return self._sinks[-1]

    def reject(self, lane: Lane, email: str) -> None:
        text = "ALTER TABLE {} ADD CONSTRAINT no_such CHECK (email <> {})"
        self._run(sql.SQL(text).format(sql.Identifier(lane.table), sql.Literal(email)))

    def exclude(self, lane: Lane) -> None:
        self._run(sql.SQL("ALTER TABLE {} ADD UNIQUE (email)").format(sql.Identifier(lane.table)))

    def cut(self) -> None:
        self._run(CUT)

    def close(self) -> None:
        for made in self._sinks:
            made.close()

    def _run(self, statement: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


class TopicStore(SinkStore):
    mode = "topic"

    def __init__(self, url: str) -> None:
        self._url = url
        self._sinks: list[TopicSink] = []

    def sink(self, lane: Lane, key: LaneKey) -> TopicSink:
        self._sinks.append(TopicSink(self._url, lane, key))
        return self._sinks[-1]

    def cut(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(CUT)

    def close(self) -> None:
        for made in self._sinks:
            made.close()


@pytest.fixture
def topic(database: str) -> Iterator[SinkStore]:
    made = TopicStore(database)
    yield made
    made.close()


@pytest.fixture
def upsert_table(database: str) -> Iterator[SinkStore]:
    made = PostgresqlStore(database, "upsert")
    yield made
    made.close()


@pytest.fixture
def append_table(database: str) -> Iterator[SinkStore]:
    made = PostgresqlStore(database, "append")
    yield made
    made.close()
