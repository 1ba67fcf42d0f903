"""A pipeline on a real PostgreSQL, run by the embedded engine in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import sql

from penstock import plan
from penstock.engines.embedded import Embedded
from penstock.engines.options import Options
from penstock.engines.reconciling.reconcile import Report, reconcile
from penstock.engines.status import Board, Event
from penstock.engines.systems import Systems
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.pipeline import Pipeline
from penstock.profile import Profile, Store


class Given:
    """A source that gives these bodies, each once."""

    framing = Framing(many=True)
    every = None

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.bodies = list(bodies)

    @classmethod
    def records(cls, *records: dict[str, Any], size: int = 10) -> Given:
        parts = [records[i : i + size] for i in range(0, len(records), size)]
        return cls([json.dumps(part).encode() for part in parts])

    def describe(self) -> str:
        return "a list"

    def check(self) -> None:
        """There is nothing to dial."""

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        for number in range(cursor or 0, len(self.bodies)):
            yield Response(self.bodies[number], number + 1)


@dataclass
class Place:
    """A database to run in: home, log and stores `one` and `two` as schemas of it.

    Args:
        url: Of the database.
        log: Where the topics are, if elsewhere.
        prefix: What the names of topics begin with.
    """

    url: str
    events: list[Event] = field(default_factory=list)
    log: str = ""
    prefix: str = ""

    def profile(self, **stores: str) -> Profile:
        given = {name: self.store(name) for name in ("one", "two")} | stores
        named = {name: Store(name, url) for name, url in given.items()}
        return Profile("test", home=self.url, log=self.log or self.url, stores=named)

    def store(self, name: str) -> str:
        return f"{self.url}&schema={name}"

    def engine(self, pipeline: Pipeline, profile: Profile | None = None, **given: Any) -> Embedded:
        board = Board(self.events.append)
        return Embedded(pipeline, profile or self.profile(), Options(**given), board=board)

    def run(self, pipeline: Pipeline, profile: Profile | None = None, **given: Any) -> Embedded:
        engine = self.engine(pipeline, profile, **{"until_idle": True, **given})
        engine.run()
        return engine

    def reconcile(self, pipeline: Pipeline, *, deep: bool = True) -> Report:
        with Systems(self.profile(), pipeline.name) as systems:
            return reconcile(pipeline.name, plan.compile(pipeline), systems, deep=deep)

    def rows(self, query: str, *given: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as session:
            cursor = session.execute(sql.SQL(query), given or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def place(database: str) -> Place:
    return Place(database)


@dataclass
class Background:
    """An engine on a thread."""

    engine: Embedded
    thread: Thread
    errors: list[BaseException]

    def stop(self) -> None:
        self.engine.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.errors:
            raise self.errors[0]


def start(engine: Embedded) -> Background:
    """Run an engine on a thread of its own."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            engine.run()
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=body, daemon=True)
    thread.start()
    return Background(engine, thread, errors)


@pytest.fixture
def background() -> Iterator[Any]:
    running: list[Background] = []

    def begin(engine: Embedded) -> Background:
        running.append(start(engine))
        return running[-1]

    yield begin
    for one in running:
        one.engine.stop()
        one.thread.join(30)
