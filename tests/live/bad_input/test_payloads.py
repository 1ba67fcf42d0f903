"""Every bad payload among good neighbours: one dead letter or one faithful row, never more."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.live.conftest import SYSTEMS
from tests.live.project import Project

COMMON = """
import base64
from datetime import datetime
from pathlib import Path
import penstock as ps
from penstock.interfaces import Framing, Response

class Order(ps.Contract):
    id: str = ps.key()
    n: int
    x: float
    at: datetime
    tags: list[str]

class Given:
    framing = Framing()
    every = None
    def describe(self): return "a list"
    def check(self): pass
    def poll(self, cursor, clock):
        lines = Path("payloads").read_text().splitlines()
        for number in range(cursor or 0, len(lines)):
            yield Response(base64.b64decode(lines[number]), number + 1)

pipeline = ps.Pipeline("bad")
"""
LANDED = (
    COMMON
    + """
orders = pipeline.source(Given(), Order, land="raw").topic("orders", partitions=2)
orders.sink("orders", store="one")
"""
)
GIVEN = (
    COMMON
    + """
orders = pipeline.topic("orders", Order)
orders.sink("orders", store="one")
orders.sink("all_orders", store="two", mode="append")
"""
)


def order(id_: str = '"x"', **changed: str) -> bytes:
    fields = {"id": id_, "n": "1", "x": "0.5", "at": '"2026-01-01T00:00:00Z"', "tags": "[]"}
    members = {**fields, **changed}.items()
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}").encode()


DEAD = {
    "not JSON": b"<html>502</html>",
    "empty": b"",
    "blank": b"  \t ",
    "a newline": b"\n",
    "two documents": order('"d1"') + order('"d2"'),
    "two lines": order('"l1"') + b"\n" + order('"l2"'),
    "half a document": order()[:-9],
    "a BOM": b"\xef\xbb\xbf" + order(),
    "UTF-16": order().decode().encode("utf-16"),
    "invalid UTF-8": order('"?"').replace(b"?", b"\xff"),
    "invalid UTF-8 in an extra field": order(more='"?"').replace(b"?", b"\xff"),
    "overlong UTF-8": order('"?"').replace(b"?", b"\xc0\xaf"),
    "raw surrogate": order('"?"').replace(b"?", b"\xed\xa0\x80"),
    "lone surrogate": order(r'"\ud800"'),
    "lone low surrogate": order(r'"\udc00x"'),
    "surrogate in a list": order(tags=r'["a", "\ud800"]'),
    "NUL": order(r'"a\u0000b"'),
    "raw NUL": order('"a\0b"'),
    "raw newline in a str": order('"a\nb"'),
    "NUL in a list": order(tags=r'["\u0000"]'),
    "duplicate key": b'{"id": "a", ' + order('"b"')[1:],
    "beyond 64 bits": order(n="9223372036854775808"),
    "far beyond 64 bits": order(n="1" + "0" * 5000),
    "1.5 for an int": order(n="1.5"),
    "str for an int": order(n='"7"'),
    "true for an int": order(n="true"),
    "NaN": order(x="NaN"),
    "Infinity": order(x="-Infinity"),
    "1e400": order(x="1e400"),
    "str NaN": order(x='"NaN"'),
    "null": b"null",
    "a null field": order(n="null"),
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"id":' * 100_000 + b"1" + b"}" * 100_000,
    "deep nesting in an extra field": order(more="[" * 100_000 + "]" * 100_000),
    "deep nesting in a field": order(tags="[" * 100_000 + "]" * 100_000),
    "array for an object": b"[" + order() + b"]",
    "scalar": b"17",
    "missing field": b'{"id": "m"}',
    "wrong type": order("17"),
    "object for a str": order('{"a": 1}'),
    "object for a list": order(tags='{"0": "a"}'),
    "no zone": order(at='"2026-01-01T00:00:00"'),
    "a date": order(at='"2026-01-01"'),
    "year 0": order(at='"0000-01-01T00:00:00Z"'),
    "year 10000": order(at='"10000-01-01T00:00:00Z"'),
    "30 February": order(at='"2026-02-30T00:00:00Z"'),
    "leap second": order(at='"2016-12-31T23:59:60Z"'),
    "nanoseconds": order(at='"2026-01-01T00:00:00.123456789Z"'),
    "before year 1 in UTC": order(at='"0001-01-01T00:00:00+01:00"'),
    "a comment": order() + b"// no",
    "a comma too many": order()[:-1] + b",}",
    "a leading zero": order(n="01"),
}
DAY = datetime(2026, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
ODD = ["", '"', "a,b", "{}", "null", "\\", "😀"]
LONG = "z" * 1_000_000
Row = tuple[str, int, float, datetime, list[str]]
ALIVE: list[tuple[bytes, Row]] = [
    (order('"extra"', more='{"a": [1, {"b": null}]}'), ("extra", 1, 0.5, DAY, [])),
    (b" \r\n" + order('"space"') + b"\n ", ("space", 1, 0.5, DAY, [])),
    (order(r'"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"'), ('"\\/\b\f\n\r\té😀', 1, 0.5, DAY, [])),
    (order('""'), ("", 1, 0.5, DAY, [])),
    (order(r'"\\N"'), ("\\N", 1, 0.5, DAY, [])),
    (order('"greatest"', n="9223372036854775807"), ("greatest", 2**63 - 1, 0.5, DAY, [])),
    (order('"least"', n="-9223372036854775808"), ("least", -(2**63), 0.5, DAY, [])),
    (order('"whole"', x="3"), ("whole", 1, 3.0, DAY, [])),
    (order('"tiny"', x="5e-324"), ("tiny", 1, 5e-324, DAY, [])),
    (order('"zone"', at='"2026-01-01T02:00:00+02:00"'), ("zone", 1, 0.5, DAY, [])),
    (order('"1"', at='"0001-01-01T00:00:00Z"'), ("1", 1, 0.5, datetime(1, 1, 1, tzinfo=UTC), [])),
    (order('"9999"', at='"9999-12-31T23:59:59.999999Z"'), ("9999", 1, 0.5, LAST, [])),
    (
        order('"odd"', tags=r'["", "\"", "a,b", "{}", "null", "\\", "😀"]'),
        ("odd", 1, 0.5, DAY, ODD),
    ),
    (order('"long"', tags=f'["{LONG}"]'), ("long", 1, 0.5, DAY, [LONG])),
]


def payloads() -> tuple[list[bytes], dict[int, str], dict[str, Row]]:
    """All payloads, a good one after each; the names of the dead by place; the rows by id."""
    given: list[bytes] = []
    dead: dict[int, str] = {}
    rows = {row[0]: row for _, row in ALIVE}
    for number, payload in enumerate([*DEAD.values(), *(payload for payload, _ in ALIVE)]):
        given += [payload, order(f'"good {number}"', n=str(number))]
        rows[f"good {number}"] = (f"good {number}", number, 0.5, DAY, [])
    dead.update({2 * number: name for number, name in enumerate(DEAD)})
    return given, dead, rows


def read(row: tuple[Any, ...]) -> Row:
    """A row as PostgreSQL holds it; Cassandra has texts for datetimes and lists."""
    id_, n, x, at, tags = row
    if isinstance(at, str):
        at, tags = datetime.fromisoformat(at), json.loads(tags)
    return id_, n, x, at, tags


def check(project: Project, lanes: int) -> None:
    """The good rows are there, the bad payloads are letters, and neither is doubled by a replay."""
    given, dead, rows = payloads()
    without_key = project.stores["one"].startswith("cassandra:")  # it holds no empty key
    if without_key:
        del rows[""]
    found = [*map(read, project.table("one", "orders", "id, n, x, at, tags"))]
    assert {row[0]: row for row in found} == rows
    assert len(found) == len(rows)
    letters = project.json("deadletters", "show", "--limit", "1000")["letters"]
    decoded = [letter for letter in letters if letter["stage"] != "store"]
    assert sorted(dead[letter["offset"]] for letter in decoded) == sorted([*DEAD] * lanes)
    assert len(letters) - len(decoded) == without_key
    for letter in decoded:
        assert base64.b64decode(letter["value_base64"]) == given[letter["offset"]]
    shown = project.penstock("deadletters", "show", "--limit", "1000").stdout
    shown += project.penstock("deadletters", "list").stdout
    assert not any(byte < 32 and byte != 10 for byte in shown)
    project.balance()

    assert project.json("deadletters", "replay")["replayed"] == len(letters)
    project.run()
    project.balance()
    discarded = project.json("deadletters", "discard", "--all", "--reason", "no good")
    assert discarded["discarded"] == len(letters)
    project.balance()
    assert project.json("deadletters", "show")["letters"] == []


@pytest.mark.parametrize("project", SYSTEMS[:3], indirect=True)
def test_values_of_a_topic(project: Project) -> None:
    project.write(GIVEN)
    given, _, rows = payloads()
    project.produce("orders", given)
    project.run()
    assert project.rows("SELECT count(*) FROM two.all_orders") == [(len(rows),)]
    check(project, lanes=2)


@pytest.mark.parametrize("project", [SYSTEMS[0], SYSTEMS[-1]], indirect=True)
def test_bodies_of_a_landing(project: Project) -> None:
    project.write(LANDED)
    given, _, _ = payloads()
    lines = [base64.b64encode(payload).decode() for payload in given]
    (project.path / "payloads").write_text("\n".join(lines))
    project.run()
    landed = project.rows('SELECT value FROM landing.raw ORDER BY "offset"')
    assert [value for (value,) in landed] == given
    check(project, lanes=1)
