"""Reading rows as far as a column has grown: none is lost, none comes twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live.project import Project
from tests.shop import Shop, land

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.interfaces import Cursor
from penstock.sources.postgresql.incremental import Postgres
from penstock.testing.clock import ManualClock


class Reader:
    """A source and where it stands."""

    def __init__(self, shop: Shop, **options: Any) -> None:
        given = {"table": "orders", "cursor": "at", **options}
        self.source = Postgres(shop.url, **given)
        self.cursor: Cursor = None

    def take(self) -> list[int]:
        found = []
        for response in land(self.source, self.cursor):
            self.cursor = json.loads(json.dumps(response.cursor))
            found += [json.loads(line)["id"] for line in response.body.splitlines()]
        return found


class Hook(ManualClock):
    """Does something at the n-th wait."""

    def __init__(self, act: Callable[[], None], nth: int = 1) -> None:
        super().__init__()
        self._act, self._left = act, nth

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        if seconds:
            self._left -= 1
            if self._left == 0:
                self._act()


@pytest.fixture
def orders(shop: Shop) -> Shop:
    shop.run("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())")
    return shop


def test_new_and_changed_rows_come_once(orders: Shop) -> None:
    reader = Reader(orders)
    assert reader.take() == []
    orders.run("INSERT INTO orders VALUES (2), (1)", "INSERT INTO orders VALUES (3)")
    assert reader.take() == [1, 2, 3]
    assert reader.take() == []
    orders.run("UPDATE orders SET at = now() WHERE id = 1", "DELETE FROM orders WHERE id = 2")
    assert reader.take() == [1]
    assert reader.take() == []


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 4), st.data())
def test_rows_of_one_value_are_told_apart_at_every_page_and_cut(
    orders: Shop, values: list[int], batch: int, data: st.DataObject
) -> None:
    orders.run("DROP TABLE IF EXISTS items", "CREATE TABLE items (id int PRIMARY KEY, n int)")
    for number, value in enumerate(values):
        orders.run(f"INSERT INTO items VALUES ({number}, {value})")
    source = Postgres(orders.url, table="items", cursor="n", batch=batch)
    responses = land(source)
    bodies = [r.body for r in responses]
    ids = [json.loads(line)["id"] for body in bodies for line in body.splitlines()]
    assert ids == [number for _, number in sorted((v, n) for n, v in enumerate(values))]
    if responses:
        cut = data.draw(st.integers(0, len(responses) - 1))
        rest = land(source, responses[cut].cursor)
        assert [r.body for r in rest] == bodies[cut + 1 :]


def test_a_transaction_that_commits_late_is_waited_for(orders: Shop) -> None:
    reader = Reader(orders)
    with psycopg.connect(orders.url) as late:
        late.execute("INSERT INTO orders VALUES (1)")
        orders.run("INSERT INTO orders VALUES (2)")
        clock = Hook(late.commit, nth=5)
        bodies = [response.body for response in reader.source.poll(None, clock)]
    assert [json.loads(line)["id"] for line in b"".join(bodies).splitlines()] == [1, 2]


def test_a_transaction_that_has_taken_its_value_and_not_written_has_the_margin(
    orders: Shop,
) -> None:
    reader = Reader(orders)
    with psycopg.connect(orders.url) as late:
        late.execute("SELECT now()")
        orders.run("INSERT INTO orders VALUES (2)")

        def write() -> None:
            late.execute("INSERT INTO orders VALUES (1)")
            threading.Timer(0.2, late.commit).start()

        waited = []

        class Clock(Hook):
            def wait(self, seconds: float) -> None:
                waited.append(seconds)
                super().wait(seconds)
                if seconds == 0.1:
                    threading.Event().wait(0.1)

        bodies = [response.body for response in reader.source.poll(None, Clock(write))]
    assert waited[0] == 5
    assert [json.loads(line)["id"] for line in b"".join(bodies).splitlines()] == [1, 2]


def test_a_transaction_that_writes_for_too_long_is_said(orders: Shop) -> None:
    with psycopg.connect(orders.url) as late:
        late.execute("INSERT INTO orders VALUES (1)")
        orders.run("INSERT INTO orders VALUES (2)")
        with pytest.raises(Unavailable, match="pg_stat_activity"):
            Reader(orders).take()


def test_values_without_an_end_do_not_stop_the_rest(orders: Shop) -> None:
    orders.run(
        "CREATE TABLE numbers (id int PRIMARY KEY, n float8)",
        "INSERT INTO numbers VALUES (1, 1), (2, 'NaN'), (3, 'Infinity'), (4, NULL)",
        "INSERT INTO orders VALUES (1, now()), (2, 'infinity')",
    )
    numbers = Reader(orders, table="numbers", cursor="n")
    times = Reader(orders)
    assert numbers.take() == [1]
    assert times.take() == [1]
    assert "null are never read" in (numbers.source.check() or [""])[0]
    orders.run("INSERT INTO orders VALUES (3)", "INSERT INTO numbers VALUES (5, 2)")
    assert (numbers.take(), times.take()) == ([5], [3])


def test_columns_may_be_chosen_and_views_read(orders: Shop) -> None:
    orders.run(
        "CREATE VIEW seen AS SELECT id, at, 'secret' AS secret FROM orders",
        "INSERT INTO orders VALUES (1)",
    )
    source = Postgres(orders.url, table="seen", cursor="at", key="id", columns=["id"])
    assert [r.body for r in land(source)] == [b'{"id":1}\n']


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "nothing"}, "there is no table 'nothing'"),
        ({"cursor": "nothing"}, "has no column 'nothing'; it has id, at"),
        ({"key": "nothing"}, "has no column 'nothing'"),
        ({"table": "loose"}, "has no primary key; write key="),
        ({"table": "loose", "key": "id"}, "may be null"),
    ],
)
def test_what_cannot_be_read_is_said(orders: Shop, options: dict[str, Any], words: str) -> None:
    orders.run("CREATE TABLE loose (id int, at timestamptz)")
    with pytest.raises(Refused) as caught:
        Reader(orders, **options).source.check()
    assert words in str(caught.value)


def test_rows_that_row_security_would_hide_are_not_silently_left_out(orders: Shop) -> None:
    role = "reader_" + orders.url.partition("shop_")[2].partition("?")[0]
    orders.run(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT ON orders TO {role}",
        "INSERT INTO orders VALUES (1), (2)",
    )
    url = orders.url.replace("penstock@", f"{role}@")
    source = Postgres(url, table="orders", cursor="at")
    try:
        assert len(land(source)) == 1
        orders.run(
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY one ON orders TO {role} USING (id = 1)",
        )
        with pytest.raises(Refused, match="row-level security"):
            land(source)
    finally:
        orders.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_cursor_of_another_source_is_refused(orders: Shop) -> None:
    for cursor in (7, {"page": 1}, {"after": "x"}, {"after": [1]}):
        with pytest.raises(Refused, match="another kind of source"):
            list(Reader(orders).source.poll(cursor, ManualClock()))


def test_a_wrong_margin_is_said_at_once() -> None:
    with pytest.raises(PenstockError, match="margin"):
        Postgres("postgresql://h/d", table="t", cursor="c", margin=0)


def test_a_pipeline_of_it(project: Project, shop: Shop) -> None:
    shop.orders(5000)
    project.environment["SHOP"] = shop.url
    project.write("""
from decimal import Decimal
from typing import Annotated
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    item: str
    price: Annotated[Decimal, ps.Digits(12, 2)]

pipeline = ps.Pipeline("rows")
rows = ps.Postgres(ps.env("SHOP"), table="orders", cursor="id", margin="100ms")
pipeline.source(rows, Order, land="rows").topic("orders").sink("orders", store="one")
""")
    project.penstock("check", "program.py")
    project.run()
    query = "SELECT id, item, price FROM {} ORDER BY id"
    assert project.rows(query.format("one.orders")) == shop.rows(query.format("orders"))
    project.balance()
