"""The source loop on a real landing: nothing lost, nothing twice, whatever breaks."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import msgspec
import psycopg
import pytest

import penstock as ps
from penstock import faults
from penstock.engines.ingesting import pull
from penstock.engines.ingesting.ingest import Ingest
from penstock.engines.status import Board
from penstock.engines.stopping import Stop, StoppableClock
from penstock.errors import Fenced
from penstock.faults import Stopped
from penstock.interfaces import Clock, Cursor, Response
from penstock.logs.landing import LandingLog
from penstock.logs.postgresql import open_landing
from penstock.sources.generator import Generator


class Order(ps.Contract):
    id: str = ps.key()
    pieces: int


ROWS = 300
WHOLE = [
    record
    for response in Generator(Order, rows=ROWS, batch=10).poll(None, StoppableClock(Stop()))
    for record in msgspec.json.decode(response.body)
]


class Orders(Generator):
    """Made-up orders, ten in a response; does something before the response of a given number."""

    def __init__(self, at: int = -1) -> None:
        super().__init__(Order, rows=ROWS, batch=10)
        self.at = at
        self.reached = Event()
        self.go_on = Event()
        self.error: BaseException | None = None

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        for number, response in enumerate(super().poll(cursor, clock)):
            if number == self.at:
                self.at = -1
                self.reached.set()
                if self.error is not None:
                    raise self.error
                assert self.go_on.wait(10)
            yield response


@pytest.fixture
def landing(database: str) -> Iterator[LandingLog]:
    log = open_landing(database, "shop", "raw_orders")
    yield log
    log.close()


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.disarm()


def ingest(source: Generator, landing: LandingLog) -> Ingest:
    board = Board()
    board.add_source(landing.name, source.describe())
    return Ingest(source, landing, StoppableClock(Stop()), board, jitter=lambda longest: 0.01)


def landed(landing: LandingLog) -> list[object]:
    read = landing.reread(landing.spans())
    return [record for body in read.records["value"] for record in msgspec.json.decode(body)]


def test_all_is_landed_once_and_in_order(landing: LandingLog) -> None:
    ingest(Orders(), landing).run()
    ingest(Orders(), landing).run()
    assert landed(landing) == WHOLE


def test_a_process_that_dies_after_each_landing_goes_on(
    landing: LandingLog, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_RESPONSES_AHEAD", 4)
    deaths = 0

    def die() -> None:
        nonlocal deaths
        deaths += 1
        raise Stopped

    faults.arm("landed", die)
    while landing.cursor() != {"row": ROWS}:
        successor = open_landing(database, "shop", "raw_orders")
        with pytest.raises(Stopped):
            ingest(Orders(), successor).run()
        successor.close()
    assert deaths >= 7
    assert landed(landing) == WHOLE


def test_a_lost_connection_is_made_again(landing: LandingLog, database: str) -> None:
    source = Orders(at=15)
    thread = Thread(target=ingest(source, landing).run)
    thread.start()
    assert source.reached.wait(10)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'penstock:%'"
        )
    source.go_on.set()
    thread.join(20)
    assert not thread.is_alive()
    assert landed(landing) == WHOLE


def test_of_two_ingesting_processes_one_is_fenced(landing: LandingLog, database: str) -> None:
    source = Orders(at=15)
    errors: list[BaseException] = []

    def first() -> None:
        try:
            ingest(source, landing).run()
        except Fenced as error:
            errors.append(error)

    thread = Thread(target=first)
    thread.start()
    assert source.reached.wait(10)
    other = open_landing(database, "shop", "raw_orders")
    ingest(Orders(), other).run()
    source.go_on.set()
    thread.join(20)
    assert len(errors) == 1
    assert landed(other) == WHOLE
    other.close()


def test_a_scheduler_may_repeat_a_run(landing: LandingLog) -> None:
    assert ingest(Orders(), landing).once("2026-01-01") is True
    assert ingest(Orders(), landing).once("2026-01-01") is False
    assert landed(landing) == WHOLE


def test_an_unfinished_run_goes_on_and_then_is_finished(landing: LandingLog) -> None:
    source = Orders(at=15)
    source.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        ingest(source, landing).once("2026-01-01")
    assert landed(landing) == WHOLE[:150]
    assert not landing.finished("2026-01-01")
    assert ingest(Orders(), landing).once("2026-01-01") is True
    assert landing.finished("2026-01-01")
    assert landed(landing) == WHOLE
