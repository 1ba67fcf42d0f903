"""What a publication can say of a table: the rows that are read and the changes agree on it."""

from __future__ import annotations

from tests.live.postgresql_source.following import Follower, brief
from tests.shop import Shop


def test_a_partitioned_table_is_followed_as_one(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, item text) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE high (note text, item text, id int NOT NULL)",
        "ALTER TABLE high DROP COLUMN note",
        "ALTER TABLE orders ATTACH PARTITION high FOR VALUES FROM (10) TO (20)",
        "INSERT INTO orders VALUES (1, 'a'), (11, 'b')",
        "CREATE PUBLICATION shop FOR TABLE orders",
    )
    follower = Follower(shop)
    assert "SET (publish_via_partition_root)" in follower.refused()
    shop.run("ALTER PUBLICATION shop SET (publish_via_partition_root)")
    assert brief(follower.take()) == [("read", 1), ("read", 11)]
    shop.run(
        "INSERT INTO orders VALUES (2, 'c'), (12, 'd')",
        "UPDATE orders SET id = 13 WHERE id = 2",
        "DELETE FROM orders WHERE id = 11",
    )
    lines = follower.take()
    assert brief(lines) == [
        ("insert", 2),
        ("insert", 12),
        ("delete", 2),
        ("insert", 13),
        ("delete", 11),
    ]
    assert lines[1]["after"] == {"id": 12, "item": "d"}
    assert {line["table"] for line in lines} == {"public.orders"}


def test_rows_that_a_publication_filters_are_neither_read_nor_followed(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, item text, kind text)",
        "ALTER TABLE orders REPLICA IDENTITY FULL",
        "INSERT INTO orders VALUES (1, 'a', '50%'), (2, 'b', 'no')",
        "CREATE PUBLICATION shop FOR TABLE orders WHERE (kind LIKE '50%')",
    )
    follower = Follower(shop)
    assert brief(follower.take()) == [("read", 1)]
    shop.run(
        "INSERT INTO orders VALUES (3, 'c', 'no')",
        "UPDATE orders SET kind = '50' WHERE id = 2",
        "UPDATE orders SET kind = 'no' WHERE id = 1",
    )
    assert brief(follower.take()) == [("insert", 2), ("delete", 1)]


def test_columns_that_are_not_published_are_not_read_either(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, item text, card text,"
        " twice int GENERATED ALWAYS AS (id * 2) STORED)",
        "INSERT INTO orders VALUES (1, 'a', 'secret')",
        "CREATE PUBLICATION shop FOR TABLE orders (id, item)",
    )
    follower = Follower(shop)
    [read] = follower.take()
    shop.run("INSERT INTO orders VALUES (2, 'b', 'secret')")
    [insert] = follower.take()
    assert read["after"] == {"id": 1, "item": "a"}
    assert insert["after"] == {"id": 2, "item": "b"}


def test_generated_columns_are_left_out_on_both_ways(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)",
        "INSERT INTO orders VALUES (1)",
        "CREATE PUBLICATION shop FOR ALL TABLES",
    )
    follower = Follower(shop)
    lines = follower.take()
    shop.run("INSERT INTO orders VALUES (2)")
    lines += follower.take()
    assert [line["after"] for line in lines] == [{"id": 1}, {"id": 2}]


def test_the_index_of_the_replica_identity_may_be_the_key(shop: Shop) -> None:
    shop.run(
        "CREATE TABLE orders (id int NOT NULL, part int NOT NULL, item text)",
        "CREATE UNIQUE INDEX numbers ON orders (part, id)",
        "ALTER TABLE orders REPLICA IDENTITY USING INDEX numbers",
        "INSERT INTO orders VALUES (1, 1, 'a')",
        "CREATE PUBLICATION shop FOR TABLES IN SCHEMA public",
    )
    follower = Follower(shop)
    [read] = follower.take()
    shop.run("DELETE FROM orders")
    [gone] = follower.take()
    assert read["key"] == gone["key"] == {"part": 1, "id": 1}
