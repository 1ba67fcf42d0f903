"""Following a table: what is landed, and what each fault gives."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.live.postgresql_source.following import Follower, brief
from tests.live.project import Project
from tests.shop import Shop

import penstock as ps
from penstock.engines.trials.taking import polled
from penstock.errors import PenstockError, Refused, Unavailable
from penstock.interfaces import Cursor, Response
from penstock.sources.postgresql.changes import PostgresChanges
from penstock.testing.clock import ManualClock


@pytest.fixture
def orders(shop: Shop) -> Shop:
    shop.orders(3)
    return shop


def until(true: Callable[[], bool]) -> None:
    """The server takes in what it is told when it gets to it."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_rows_come_first_and_then_the_changes(orders: Shop) -> None:
    follower = Follower(orders)
    assert brief(follower.take()) == [("read", 1), ("read", 2), ("read", 3)]
    orders.run(
        "INSERT INTO orders VALUES (4, 'new', 1.50)",
        "UPDATE orders SET item = 'other' WHERE id = 4",
        "UPDATE orders SET id = 5 WHERE id = 4",
        "DELETE FROM orders WHERE id = 5",
        "BEGIN; INSERT INTO orders VALUES (8, 'gone'); ROLLBACK",
    )
    lines = follower.take()
    ops = [("insert", 4), ("update", 4), ("delete", 4), ("update", 5), ("delete", 5)]
    assert brief(lines) == ops
    assert lines[0]["after"] == {"id": 4, "item": "new", "price": 1.5}
    assert [line["n"] for line in lines] == [0, 0, 0, 1, 0]
    assert follower.take() == []


def test_what_is_written_while_the_table_is_read_is_neither_lost_nor_doubled(orders: Shop) -> None:
    follower = Follower(orders, batch=1)
    taken = []
    source = follower.make()
    for response in source.poll(None, ManualClock()):
        taken.append(response)
        source.landed(response.cursor)
        if len(taken) == 2:
            orders.run(
                "INSERT INTO orders VALUES (0, 'first'), (9, 'last')",
                "DELETE FROM orders WHERE id = 3",
            )
    source.leave()
    ops = [("read", 1), ("read", 2), ("read", 3), ("insert", 0), ("insert", 9), ("delete", 3)]
    assert brief(follower.lines(taken)) == ops


def test_reading_that_was_cut_off_goes_on_and_the_stream_makes_it_good(orders: Shop) -> None:
    follower = Follower(orders, batch=1)
    source = follower.make()
    responses = source.poll(None, ManualClock())
    taken = []
    for response in responses:
        taken.append(response)
        source.landed(response.cursor)
        if len(taken) == 2:
            break
    responses.close()  # type: ignore[attr-defined]
    first = follower.lines(taken)
    orders.run(
        "DELETE FROM orders WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
        "UPDATE orders SET item = 'x' WHERE id = 3",
        "INSERT INTO orders VALUES (4, 'y')",
    )
    lines = first + follower.take()
    rows: dict[int, str] = {}
    for line in lines:
        rows.pop(line["key"]["id"], None)
        if line["op"] != "delete":
            rows[line["key"]["id"]] = line["after"]["item"]
    assert rows == {3: "x", 4: "y"}


def test_an_attempt_that_nothing_was_landed_of_leaves_no_slot(orders: Shop) -> None:
    source = Follower(orders).make()
    responses = source.poll(None, ManualClock())
    for _ in range(2):
        next(responses)
    responses.close()  # type: ignore[attr-defined]
    assert orders.slots() == []


def test_a_look_at_its_records_leaves_no_slot(orders: Shop) -> None:
    source = Follower(orders).make()
    assert polled(source, 100).records.height == 3
    assert orders.slots() == []
    assert polled(source, 2).records.height == 2
    del source
    gc.collect()
    assert orders.slots() == []


def test_an_idle_follower_keeps_its_slot_when_it_leaves(orders: Shop) -> None:
    follower = Follower(orders)
    source = follower.make()
    for response in source.poll(None, ManualClock()):
        source.landed(response.cursor)
        follower.cursor = response.cursor
    for _ in range(2):
        assert list(source.poll(follower.cursor, ManualClock())) == []
    source.leave()
    assert orders.slots() == ["penstock_orders"]


def test_a_scheduled_run_keeps_its_slot(project: Project, orders: Shop) -> None:
    project.environment["SHOP"] = orders.url
    project.write("""
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    item: str

pipeline = ps.Pipeline("mirror")
changes = ps.PostgresChanges(ps.env("SHOP"), table="orders", publication="shop")
pipeline.source(changes, Order, land="changes").topic("orders").sink("orders", store="one")
""")
    project.penstock("ingest", "program.py", "--once", "--run-id", "one")
    orders.run("DELETE FROM orders WHERE id = 2")
    project.penstock("ingest", "program.py", "--once", "--run-id", "two")
    project.penstock("ingest", "program.py", "--once", "--run-id", "two")
    assert orders.slots() == ["penstock_orders"]
    project.run()
    assert project.rows("SELECT id FROM one.orders ORDER BY id") == [(1,), (3,)]
    project.balance()


def test_an_attempt_that_was_killed_before_it_read_is_begun_again(orders: Shop) -> None:
    follower = Follower(orders)
    source = follower.make()
    responses = source.poll(None, ManualClock())
    follower.lines([next(responses)])
    source.landed(follower.cursor)
    responses.close()  # type: ignore[attr-defined]
    orders.rows("SELECT pg_create_logical_replication_slot('penstock_orders', 'pgoutput')")
    assert brief(follower.take()) == [("read", 1), ("read", 2), ("read", 3)]


def test_a_transaction_that_is_landed_in_part_goes_on_where_it_was(orders: Shop) -> None:
    follower = Follower(orders, batch=2)
    follower.take()
    orders.run("INSERT INTO orders SELECT i, 'x' FROM generate_series(11, 15) i")
    source = follower.make()
    responses = source.poll(follower.cursor, ManualClock())
    first = follower.lines([next(responses)])
    responses.close()  # type: ignore[attr-defined]
    orders.run("INSERT INTO orders VALUES (16, 'x')")
    assert [key for _, key in brief(first + follower.take())] == [11, 12, 13, 14, 15, 16]


def test_the_slot_moves_only_when_changes_are_landed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    where = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots"
    before = orders.rows(where)
    orders.run("INSERT INTO orders VALUES (4, 'new')")
    source = follower.make()
    taken = list(source.poll(follower.cursor, ManualClock()))
    source.leave()
    assert orders.rows(where) == before
    source.landed(taken[-1].cursor)
    follower.lines(taken)
    follower.take()
    until(lambda: orders.rows(where) == [(follower.cursor["lsn"],)])


def test_the_slot_moves_on_while_only_other_tables_are_written(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run(
        "CREATE TABLE other (t text)",
        "INSERT INTO other SELECT repeat(md5(i::text), 40) FROM generate_series(1, 20000) i",
    )
    before = follower.cursor["lsn"]
    assert follower.take() == []
    assert follower.cursor["lsn"] != before
    follower.take()
    held = "SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1000000 FROM pg_replication_slots"
    until(lambda: orders.rows(f"{held} WHERE database = current_database()") == [(True,)])


def test_a_large_value_that_an_update_leaves_alone_is_marked(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, n int, photo text)",
        "ALTER TABLE orders ALTER photo SET STORAGE EXTERNAL",
        "INSERT INTO orders VALUES (1, 1, repeat('x', 9000))",
        "CREATE PUBLICATION shop FOR TABLE orders",
    )
    follower = Follower(shop)
    assert any("REPLICA IDENTITY FULL" in note for note in follower.make().check())
    follower.take()
    shop.run("UPDATE orders SET n = 2")
    [line] = follower.take()
    assert line["after"] == {"id": 1, "n": 2}
    assert line["unchanged"] == ["photo"]
    shop.run("ALTER TABLE orders REPLICA IDENTITY FULL", "UPDATE orders SET n = 3")
    [line] = follower.take()
    assert line["after"] == {"id": 1, "n": 3, "photo": "x" * 9000}
    assert "unchanged" not in line
    assert line["before"]["n"] == 2


def test_columns_may_come_go_and_change_their_type(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run(
        "UPDATE orders SET item = 'a' WHERE id = 1",
        "ALTER TABLE orders ADD COLUMN more text DEFAULT 'm'",
        "UPDATE orders SET item = 'b' WHERE id = 1",
        "ALTER TABLE orders DROP COLUMN item",
        "ALTER TABLE orders ALTER price TYPE text",
        "UPDATE orders SET more = 'c' WHERE id = 1",
    )
    afters = [line["after"] for line in follower.take()]
    assert afters == [
        {"id": 1, "item": "a", "price": 0.25},
        {"id": 1, "item": "b", "price": 0.25, "more": "m"},
        {"id": 1, "price": "0.25000000000000000000", "more": "c"},
    ]


def test_a_truncate_is_refused_or_passed_over(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run(
        "INSERT INTO orders VALUES (4, 'a')",
        "TRUNCATE orders",
        "INSERT INTO orders VALUES (5, 'b')",
    )
    source = follower.make()
    taken = []
    with pytest.raises(Refused, match='truncate="keep"'):
        for response in source.poll(follower.cursor, ManualClock()):
            taken.append(response)
            source.landed(response.cursor)
    source.leave()
    assert brief(follower.lines(taken)) == [("insert", 4)]
    follower.make = lambda: PostgresChanges(
        orders.url, table="orders", publication="shop", truncate="keep"
    )
    assert brief(follower.take()) == [("insert", 5)]
    assert "truncated" in follower.headers[-1]["truncated"]


# --- faults --------------------------------------------------------------------------------------


def test_a_slot_that_was_dropped_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.rows("SELECT pg_drop_replication_slot('penstock_orders')")
    assert "no replication slot 'penstock_orders' any more" in follower.refused()


def test_a_slot_that_somebody_else_advanced_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run("INSERT INTO orders VALUES (4, 'lost')")
    orders.rows("SELECT pg_replication_slot_advance('penstock_orders', pg_current_wal_lsn())")
    assert "advanced by somebody else" in follower.refused()


def test_a_slot_that_is_there_already_is_not_taken(orders: Shop) -> None:
    orders.rows("SELECT pg_create_logical_replication_slot('penstock_orders', 'pgoutput')")
    assert "pg_drop_replication_slot('penstock_orders')" in Follower(orders).refused()
    assert orders.slots() == ["penstock_orders"]


def test_one_slot_has_one_reader(orders: Shop) -> None:
    first, second = Follower(orders), Follower(orders)
    source = first.make()
    first.lines([*_landed(source, None)])
    with pytest.raises(Unavailable, match="one slot has one reader"):
        list(second.make().poll(first.cursor, ManualClock()))
    source.leave()
    second.cursor = first.cursor
    assert second.take() == []


def _landed(source: PostgresChanges, cursor: Cursor) -> list[Response]:
    """Poll and land, and hold on to the slot."""
    taken = []
    for response in source.poll(cursor, ManualClock()):
        taken.append(response)
        source.landed(response.cursor)
    return taken


def test_a_publication_that_was_made_anew_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run("DROP PUBLICATION shop")
    assert "CREATE PUBLICATION" in follower.refused()
    orders.run("INSERT INTO orders VALUES (4, 'lost')", "CREATE PUBLICATION shop FOR TABLE orders")
    assert "changes may be missing" in follower.refused()


def test_a_table_that_left_the_publication_for_a_while_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run("ALTER PUBLICATION shop DROP TABLE orders")
    assert "ADD TABLE" in follower.refused()
    orders.run("INSERT INTO orders VALUES (4, 'lost')", "ALTER PUBLICATION shop ADD TABLE orders")
    assert "changes may be missing" in follower.refused()


def test_a_table_that_was_made_anew_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run("DROP TABLE orders", "CREATE TABLE orders (id int PRIMARY KEY, item text)")
    orders.run("ALTER PUBLICATION shop ADD TABLE orders")
    assert "made again" in follower.refused()


def test_a_key_that_changed_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    orders.run(
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
        "ALTER TABLE orders ADD PRIMARY KEY (id, item)",
        "INSERT INTO orders VALUES (4, 'x')",
    )
    assert "the key of public.orders was (id) and is (id, item) now" in follower.refused()


def test_wal_that_is_gone_is_noticed(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    try:
        orders.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")
        orders.run("CREATE TABLE other (t text)")
        status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'penstock_orders'"
        for _ in range(20):
            orders.run(
                "INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 20000)",
                "SELECT pg_switch_wal()",
                "CHECKPOINT",
            )
            if orders.rows(status) == [("lost",)]:
                break
        assert "has lost WAL" in follower.refused()
    finally:
        orders.run("ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")


def test_too_much_wal_stops_or_drops_as_was_chosen(orders: Shop) -> None:
    follower = Follower(orders, max_lag="1MB")
    follower.take()
    orders.run(
        "CREATE TABLE other (t text)",
        "INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 20000)",
    )
    assert "Raise max_lag=" in follower.refused()
    assert orders.slots() == ["penstock_orders"]
    given = {"table": "orders", "publication": "shop", "max_lag": "1MB", "over_lag": "drop"}
    follower.make = lambda: PostgresChanges(orders.url, **given)  # type: ignore[arg-type]
    assert "was dropped" in follower.refused()
    assert orders.slots() == []


def test_another_database_is_not_taken_for_this_one(orders: Shop) -> None:
    follower = Follower(orders)
    follower.take()
    follower.cursor |= {"system": "1"}
    assert "another database cluster" in follower.refused()
    [(system,)] = orders.rows("SELECT system_identifier::text FROM pg_control_system()")
    follower.cursor |= {"system": system}
    here = follower.cursor["lsn"]
    follower.cursor |= {"lsn": "FFFF/0"}
    assert "restored from a backup" in follower.refused()
    follower.cursor |= {"lsn": here, "timeline": 7}
    assert "timeline" in follower.refused()


def test_a_server_that_is_killed_is_waited_for_and_nothing_is_lost(orders: Shop) -> None:
    follower = Follower(orders, batch=1)
    follower.take()
    orders.run("INSERT INTO orders SELECT i, repeat('x', 1000) FROM generate_series(4, 5000) i")
    source = follower.make()
    responses = source.poll(follower.cursor, ManualClock())
    lines = follower.lines([next(responses)])
    orders.crash()
    with pytest.raises(Unavailable):
        for response in responses:
            lines += follower.lines([response])
    source.leave()
    assert brief(lines + follower.take()) == [("insert", n) for n in range(4, 5001)]


def test_a_landing_that_is_away_for_long_does_not_lose_the_connection(orders: Shop) -> None:
    """The server ends a replication that says nothing for `wal_sender_timeout`."""
    follower = Follower(orders, batch=1)
    follower.take()
    try:
        orders.run("ALTER SYSTEM SET wal_sender_timeout = '8s'", "SELECT pg_reload_conf()")
        orders.run(
            "INSERT INTO orders SELECT i, repeat('x', 1000) FROM generate_series(10, 5000) i"
        )
        source = follower.make()
        responses = source.poll(follower.cursor, ManualClock())
        first = next(responses)
        time.sleep(17)
        rest = list(responses)
        source.leave()
    finally:
        orders.run("ALTER SYSTEM RESET wal_sender_timeout", "SELECT pg_reload_conf()")
    assert len(follower.lines([first, *rest])) == 4991


def test_a_stop_is_heard_while_a_slot_waits_for_others(orders: Shop) -> None:
    class Stop(Exception):
        pass

    class Clock(ManualClock):
        def wait(self, seconds: float) -> None:
            if stopping.is_set():
                raise Stop
            super().wait(seconds)

    stopping = threading.Event()
    source = Follower(orders).make()
    with psycopg.connect(orders.url) as writer:
        writer.execute("INSERT INTO orders VALUES (7, 'open')")
        threading.Timer(0.5, stopping.set).start()
        with pytest.raises(Stop):
            list(source.poll(None, Clock()))
        writer.rollback()
    source.leave()


# --- what check says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP PUBLICATION shop", 'CREATE PUBLICATION "shop" FOR TABLE "public"."orders"'),
        ("ALTER PUBLICATION shop DROP TABLE orders", 'ADD TABLE "public"."orders"'),
        ("ALTER PUBLICATION shop SET (publish = 'insert')", "SET (publish ="),
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "ADD PRIMARY KEY"),
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", "REPLICA IDENTITY DEFAULT"),
        ("DROP TABLE orders", "there is no table 'orders' in the schema 'public'"),
    ],
)
def test_check_says_the_cure(orders: Shop, statement: str, words: str) -> None:
    orders.run(statement)
    with pytest.raises(PenstockError) as caught:
        Follower(orders).make().check()
    assert words in str(caught.value)


def test_check_says_what_a_start_would_create_and_creates_nothing(orders: Shop) -> None:
    found = Follower(orders).make().check()
    assert any("create the replication slot 'penstock_orders'" in note for note in found)
    assert any("max_slot_wal_keep_size" in note for note in found)
    assert orders.slots() == []


def test_a_role_that_may_not_replicate_is_told_so(orders: Shop) -> None:
    role = orders.slots.__name__ + str(time.time_ns())
    orders.run(f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON orders TO {role}")
    url = orders.url.replace("penstock@", f"{role}@")
    try:
        with pytest.raises(Refused, match="REPLICATION"):
            PostgresChanges(url, table="orders", publication="shop").check()
        orders.run(f"ALTER ROLE {role} REPLICATION")
        follower = Follower(orders)
        follower.make = lambda: PostgresChanges(url, table="orders", publication="shop")
        assert len(follower.take()) == 3
    finally:
        orders.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_server_without_logical_wal_is_told_so(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    with pytest.raises(Refused, match="SET wal_level"):
        PostgresChanges(database, table="orders", publication="shop").check()


@pytest.mark.parametrize(
    "given",
    [
        {"slot": "Not a slot"},
        {"truncate": "delete"},
        {"over_lag": "warn"},
        {"max_lag": "much"},
        {"batch": 0},
        {"every": "often"},
    ],
)
def test_what_cannot_be_is_said_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(PenstockError):
        ps.PostgresChanges("postgresql://h/d", table="t", publication="p", **given)
