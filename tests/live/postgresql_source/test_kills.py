"""A mirrored table equals its source, whatever is killed while both are written."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest
from tests.live.project import Project
from tests.shop import Shop

PROGRAM = """
from decimal import Decimal
from typing import Annotated
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    item: str
    price: Annotated[Decimal, ps.Digits(20, 4)] | None

pipeline = ps.Pipeline("mirror")
changes = ps.PostgresChanges(ps.env("SHOP"), table="orders", publication="shop", batch=500)
orders = pipeline.source(changes, Order, land="orders_changes").topic("orders", partitions=2)
orders.sink("orders", store="one")
"""

ROWS = 30_000


class Writer:
    """Inserts, updates, moves and deletes rows until it is stopped, a transaction after the other.

    Args:
        shop: Where.
        seed: Of what it does.
    """

    def __init__(self, shop: Shop, seed: int) -> None:
        self._shop = shop
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self.transactions = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self._shop.url) as session:
                while not self._stopped.is_set():
                    with session.transaction():
                        for _ in range(self._random.choice((1, 3, 200))):
                            self._change(session)
                        if self._random.random() < 0.1:
                            raise psycopg.Rollback
                    self.transactions += 1
                    time.sleep(0.01)

    def _change(self, session: psycopg.Connection) -> None:
        row = self._random.randrange(ROWS)
        match self._random.randrange(5):
            case 0:
                statement = "DELETE FROM orders WHERE abs(id) = %(row)s"
            case 1:
                statement = (
                    "UPDATE orders SET id = -id WHERE id = %(row)s"
                    " AND NOT EXISTS (SELECT FROM orders WHERE id = -%(row)s)"
                )
            case 2:
                statement = "UPDATE orders SET item = item || 'x', price = NULL WHERE id = %(row)s"
            case _:
                statement = (
                    "INSERT INTO orders VALUES (%(row)s, md5(random()::text),"
                    " random()::numeric(20, 4))"
                    " ON CONFLICT (id) DO UPDATE SET item = excluded.item, price = excluded.price"
                )
        session.execute(statement, {"row": row})


def equal(project: Project, shop: Shop) -> None:
    query = "SELECT id, item, price FROM {} ORDER BY id"
    theirs = shop.rows(query.format("orders"))
    assert project.rows(query.format("one.orders")) == theirs
    project.balance()


@pytest.fixture
def mirror(project: Project, shop: Shop) -> Project:
    shop.orders(ROWS)
    project.environment["SHOP"] = shop.url
    project.write(PROGRAM)
    return project


def killed_now_and_then(project: Project, shop: Shop, times: int, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(shop, seed)
    with writer.at_work():
        for number in range(times):
            run = project.start("run", "program.py")
            time.sleep(chance.uniform(1.0, 4.5))
            if number % 3 == 1:
                shop.crash()
                time.sleep(chance.uniform(0.1, 2))
            run.kill()
            run.communicate()
    assert writer.transactions
    said = project.run()
    assert "refuse" not in said
    equal(project, shop)


@pytest.mark.timeout(300)
def test_a_mirror_equals_its_table_after_kills(mirror: Project, shop: Shop) -> None:
    killed_now_and_then(mirror, shop, 5, seed=20261128)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_a_mirror_equals_its_table_after_many_kills(mirror: Project, shop: Shop, seed: int) -> None:
    killed_now_and_then(mirror, shop, 15, seed)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_kill_right_after_a_response_was_landed(mirror: Project, shop: Shop, nth: int) -> None:
    """At the first one the slot is not there yet; the next ones are in the middle of reading."""
    mirror.environment["PENSTOCK_FAULT"] = f"landed:KILL:{nth}"
    run = mirror.start("run", "program.py", "--until-idle")
    run.communicate(timeout=100)
    del mirror.environment["PENSTOCK_FAULT"]
    shop.run("DELETE FROM orders WHERE id % 3 = 0", "UPDATE orders SET id = -id WHERE id % 3 = 1")
    mirror.run()
    equal(mirror, shop)
