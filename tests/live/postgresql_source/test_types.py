"""Every type: what lands, the same by reading, by replication and by a growing column."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import pytest
from tests.shop import Shop, land
from tests.unit.contract.everything import Everything

import penstock as ps
from penstock import testing
from penstock.contract import decode, spec
from penstock.interfaces import Framing
from penstock.sources.postgresql.changes import PostgresChanges
from penstock.sources.postgresql.incremental import Postgres

CASES: list[tuple[str, str, Any]] = [
    ("smallint", "'-32768'", -32768),
    ("bigint", "9223372036854775807", 9223372036854775807),
    ("numeric", "'123456789012345678901234567890.000000000000000000001'", ...),
    ("numeric(10,2)", "'1.50'", ...),
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "'-Infinity'", "-Infinity"),
    ("real", "'0.1'", 0.1),
    ("double precision", "'1e-300'", 1e-300),
    ("double precision", "'Infinity'", "Infinity"),
    ("boolean", "true", True),
    ("text", "E'a\"b\\\\c\\n\\té\\u2028'", 'a"b\\c\n\té\u2028'),
    ("char(5)", "'ab'", "ab   "),
    ('"char"', "'x'", "x"),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "'\\x00ff10'", "AP8Q"),
    ("date", "'2026-11-20'", "2026-11-20"),
    ("date", "'infinity'", "infinity"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("timestamptz", "'2026-11-20 18:30:00.123456+05:30'", "2026-11-20T13:00:00.123456Z"),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("timestamp", "'2026-11-20 18:30:00'", "2026-11-20T18:30:00"),
    ("time", "'18:30:00.5'", "18:30:00.5"),
    ("interval", "'1 year 2 days 03:04:05'", "P1Y2DT3H4M5S"),
    ("json", "'{\"a\":\n  [1.0, 1.00]}'", {"a": [1.0, 1.0]}),
    ("jsonb", '\'{"a": "\\u00e9"}\'', {"a": "é"}),
    ("int[]", "'{1,NULL,3}'", [1, None, 3]),
    ("int[]", "'[0:1]={4,5}'", [4, 5]),
    ("text[]", "ARRAY[['a,b','c\"d'],['NULL',NULL]]", [["a,b", 'c"d'], ["NULL", None]]),
    ("timestamptz[]", "ARRAY['2026-11-20 00:00+00'::timestamptz]", ["2026-11-20T00:00:00Z"]),
    ("jsonb[]", """ARRAY['{"a": "b\\"c"}'::jsonb]""", [{"a": 'b"c'}]),
    ("bytea[]", "ARRAY['\\x00'::bytea]", ["AA=="]),
    ("box[]", "ARRAY['(1,1),(0,0)'::box]", ["(1,1),(0,0)"]),
    ("mood", "'so \"so\"'", 'so "so"'),
    ("mood[]", "ARRAY['so \"so\"'::mood]", ['so "so"']),
    ("amount", "7.10", ...),
    ("amounts", "'{7.1}'", [7.1]),
    ("pair", "ROW(1, 'a')", "(1,a)"),
    ("int4range", "'[1,5)'", "[1,5)"),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    ("money", "'1234.5'", "$1,234.50"),
    ("text", "NULL", None),
]
LITERALS = {
    "c2": b"123456789012345678901234567890.000000000000000000001",
    "c3": b"1.50",
    "c34": b"7.10",
}


@pytest.fixture
def typed(shop: Shop) -> Shop:
    columns = ", ".join(f"c{n} {type_}" for n, (type_, _, _) in enumerate(CASES))
    shop.run(
        """CREATE TYPE mood AS ENUM ('so "so"')""",
        "CREATE DOMAIN amount AS numeric CHECK (value > 0)",
        "CREATE DOMAIN amounts AS numeric[]",
        "CREATE TYPE pair AS (a int, b text)",
        f"CREATE TABLE orders (id int PRIMARY KEY, {columns})",
        f"INSERT INTO orders VALUES (1, {', '.join(value for _, value, _ in CASES)})",
        "CREATE PUBLICATION shop FOR TABLE orders",
    )
    return shop


def test_every_type_lands_exactly_and_the_same_on_every_way(typed: Shop) -> None:
    source = PostgresChanges(typed.url, table="orders", publication="shop")
    taken = land(source)
    columns = ", ".join(f"c{n}" for n in range(len(CASES)))
    typed.run(f"INSERT INTO orders SELECT 2, {columns} FROM orders")
    taken += land(source, taken[-1].cursor)
    [read, insert] = [line for r in taken for line in r.body.splitlines()]
    [polled, _] = land(Postgres(typed.url, table="orders", cursor="id"))[0].body.splitlines()
    rows = [json.loads(read)["after"], json.loads(insert)["after"] | {"id": 1}, json.loads(polled)]
    for row in rows:
        for n, (type_, value, made) in enumerate(CASES):
            if made is not ...:
                assert row[f"c{n}"] == made, (type_, value)
    for line in (read, insert, polled):
        for name, literal in LITERALS.items():
            assert b'"%b":%b,' % (name.encode(), literal) in line


def test_names_may_be_anything(shop: Shop) -> None:
    shop.run(
        'CREATE SCHEMA "S %s; --"',
        """CREATE TABLE "S %s; --"."Or""ders %" ("I d%s" text, "b'""{}\\" int, "é" text,
            PRIMARY KEY ("I d%s", "b'""{}\\"))""",
        """INSERT INTO "S %s; --"."Or""ders %" VALUES ('a%s''', 1, 'x'), ('b"', 2, 'y'),
            ('c', 3, 'z')""",
        """CREATE PUBLICATION "Sh'o""p, %" FOR TABLE "S %s; --"."Or""ders %" """,
    )
    place: dict[str, Any] = {"table": 'Or"ders %', "schema": "S %s; --"}
    source = PostgresChanges(shop.url, publication="Sh'o\"p, %", batch=1, **place)
    source.check()
    taken = land(source)
    shop.run("""UPDATE "S %s; --"."Or""ders %" SET "é" = 'w' WHERE "b'""{}\\" = 1""")
    taken += land(source, taken[-1].cursor)
    keys = [json.loads(line)["key"]["I d%s"] for r in taken for line in r.body.splitlines()]
    assert keys == ["a%s'", 'b"', "c", "a%s'"]
    by: dict[str, Any] = {"cursor": "I d%s", "batch": 1, "margin": 0.1}
    rows = land(Postgres(shop.url, **place, **by))
    names = [json.loads(r.body)["I d%s"] for r in rows]
    assert names == ["a%s'", 'b"', "c"]


def test_every_type_of_the_contract_takes_what_postgresql_writes(shop: Shop) -> None:
    shop.run(
        """CREATE TABLE orders (id uuid PRIMARY KEY, name text, gender varchar(6), color text,
            age smallint, price numeric(12, 2), ok boolean, ratio real, day date, at timestamptz,
            postcode bigint, blob bytea, tags text[], logins jsonb[], login jsonb, class "char",
            date_added timestamptz)""",
        """INSERT INTO orders VALUES (gen_random_uuid(), 'Ana "x"', 'female', 'red', 7, 12.5, true,
            0.1, '2026-11-20', '2026-11-20 18:30:00.123456+02', 90210, '\\x00ff', '{a,"b c"}',
            ARRAY[NULL, '{"uuid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"}'::jsonb], NULL, 'c',
            '2026-11-20 00:00:00+00')""",
        "CREATE PUBLICATION shop FOR TABLE orders",
    )
    values = pl.Series(
        [r.body for r in land(PostgresChanges(shop.url, table="orders", publication="shop"))]
    )
    found = decode(spec(Everything), values, Framing(changes=True))
    assert found.failures == []
    [row] = found.rows.to_dicts()
    assert row["price"] == Decimal("12.50")
    assert row["at"] == datetime(2026, 11, 20, 16, 30, 0, 123456, tzinfo=UTC)
    assert row["ratio"] == 0.1
    assert row["postcode"] == "90210"
    assert row["blob"] == b"\x00\xff"
    assert row["tags"] == ["a", "b c"]
    assert row["logins"][0] is None


def test_what_a_contract_does_not_hold_is_a_dead_letter(shop: Shop) -> None:
    class Order(ps.Contract):
        id: int = ps.key()
        at: datetime | None
        price: Annotated[Decimal, ps.Digits(12, 2)] | None

    shop.run(
        "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, price numeric)",
        "INSERT INTO orders VALUES (1, 'infinity'), (2, '0044-03-15 12:00:00 BC'),"
        " (3, '12026-01-01'), (4, '2026-01-01 00:00:00')",
        "INSERT INTO orders (id, price) VALUES (5, 'NaN'), (6, 1.001), (7, 'Infinity'), (8, 1.10)",
        "CREATE PUBLICATION shop FOR TABLE orders",
    )
    pipeline = ps.Pipeline("p")
    source = PostgresChanges(shop.url, table="orders", publication="shop")
    pipeline.source(source, Order, land="l").topic("orders").sink("orders", store="w")
    result = testing.run(pipeline, {"l": land(source)})
    assert [row["id"] for row in result["orders@w"]] == [4, 8]
    assert len(result.letters) == 6
