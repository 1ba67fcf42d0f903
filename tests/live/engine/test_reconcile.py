"""`reconcile` finds what is wrong: each check is shown to be able to fail."""

from __future__ import annotations

import pytest
from tests.live.engine.conftest import Given, Place
from tests.live.engine.test_embedded import people, program


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE one.users SET age = age + 1 WHERE name = 'p7'", "has other values"),
        ("DELETE FROM one.users WHERE name = 'p7'", "lacks the row"),
        (
            "INSERT INTO one.users SELECT 'stranger', age, seen, _order FROM one.users LIMIT 1",
            "the log does not give",
        ),
        ("DELETE FROM two.even WHERE age = 8", "lacks the row"),
        ("UPDATE two.even SET age = 10 WHERE age = 8", "has other values"),
        ("UPDATE penstock.ledger SET written = written + 1", "do not balance"),
        ("DELETE FROM penstock.ledger", "ledger"),
        ("UPDATE penstock.progress SET records = records + 1, written = written + 1", "counts"),
        ("DELETE FROM penstock.letters", "letters"),
    ],
)
def test_damage_is_named(place: Place, damage: str, found: str) -> None:
    source = Given.records(*people(120), {"name": "bad", "age": "x"})
    pipeline = program(source)
    place.run(pipeline)
    assert place.reconcile(pipeline).balanced
    place.rows(damage)
    report = place.reconcile(pipeline)
    assert any(found in words for words in report.differences), report.differences


def test_a_foreign_record_in_a_topic_is_named(place: Place) -> None:
    pipeline = program(Given.records(*people(30)))
    place.run(pipeline)
    import polars as pl

    from penstock.logs.postgresql import open_topic

    topic = open_topic(place.url, "users")
    topic.append(pl.DataFrame({"key": [b"x"], "value": [b'{"name": "x", "age": 1}']}))
    topic.close()
    assert "was given 31" in place.reconcile(pipeline, deep=False).differences[0]
    named, counted = place.reconcile(pipeline).differences[:2]
    assert "key 'x' that the log does not give" in named
    assert "was given 31" in counted


def test_rows_of_an_earlier_program_are_counted_and_that_is_said(place: Place) -> None:
    source = Given.records(*people(30))
    place.run(program(source))
    import polars as pl

    source.bodies += Given.records(*people(30, 30)).bodies
    changed = program(source, lambda rows: rows.select("name", age=pl.col("age") + 1000))
    place.run(changed)
    report = place.reconcile(changed)
    assert report.differences == ()
