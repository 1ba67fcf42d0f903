"""Rows that the plan accepts and the table does not: found one by one, the others written."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from penstock.errors import Refused, Rejected
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import deleted, people, rows, steps

MakeSink = Callable[..., PostgresqlSink]
Run = Callable[[str], list[tuple[object, ...]]]

MODES = ("upsert", "append")

RAISING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF new.age = 2 THEN RAISE EXCEPTION 'no twos'; END IF; RETURN new; END $$;
CREATE TRIGGER refuse {when} INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse()
"""

RULES = {
    "check": "ALTER TABLE people ADD CHECK (age <> 2)",
    "trigger before": RAISING.format(when="BEFORE"),
    "trigger after": RAISING.format(when="AFTER"),
    "overflow": "ALTER TABLE people ADD half smallint GENERATED ALWAYS AS ((age - 2) / 0) STORED",
    "unique": "ALTER TABLE people ADD UNIQUE (age)",
    "unique at the end": "ALTER TABLE people ADD UNIQUE (age) DEFERRABLE INITIALLY DEFERRED",
    "exclusion": "ALTER TABLE people ADD EXCLUDE USING btree (age WITH =)",
}

EXPECTED = {
    "unique": [3],
    "unique at the end": [3],
    "exclusion": [3],
    "overflow": [0, 1, 2, 3],
}

SOME = people((1, "a", 1), (2, "b", 2), (3, "c", 3), (4, "d", 2))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", RULES)
def test_rows_that_break_a_rule_are_found(sink: MakeSink, run: Run, mode: str, rule: str) -> None:
    made = sink(mode)
    run(RULES[rule])
    before = made.claim({0: 1})
    batch = rows(SOME)
    with pytest.raises(Rejected) as error:
        made.commit([made.stage(batch)], steps(before, {0: 4}))
    assert error.value.code
    made.rollback()
    guilty = [number for number, _ in made.isolate(batch)]
    assert guilty == EXPECTED.get(rule, [1, 3])
    left = batch.with_row_index("n").filter(~pl.col("n").is_in(guilty)).drop("n")
    stands = made.commit([made.stage(left)], steps(before, {0: 4}))
    assert stands[0].totals.written == left.height
    assert run("SELECT count(*) FROM people") == [(left.height,)]


def test_a_key_of_nine_kilobytes(sink: MakeSink, run: Run) -> None:
    from penstock.contract import Contract, key

    class Page(Contract):
        url: str = key()

    made = sink("upsert", Page)
    made.claim({0: 1})
    noise = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(4000))
    batch = rows(pl.DataFrame({"url": ["short", noise, "other"]}))
    assert [(n, e.code) for n, e in made.isolate(batch)] == [(1, "54000")]


def test_a_row_whose_superseder_is_guilty_is_tried(sink: MakeSink, run: Run) -> None:
    made = sink()
    run("ALTER TABLE people ADD CHECK (age > 0)")
    made.claim({0: 1})
    batch = rows(people((1, "a", -1), (2, "b", 1), (1, "c", -2), (2, "d", -1)))
    assert [n for n, _ in made.isolate(batch)] == [0, 2, 3]


def test_a_child_before_its_parent_is_innocent(sink: MakeSink, run: Run) -> None:
    made = sink()
    run("ALTER TABLE people ADD FOREIGN KEY (age) REFERENCES people (id)")
    made.claim({0: 1})
    batch = rows(people((1, "child", 4), (2, "orphan", 99), (3, "child", 1), (4, "parent", None)))
    assert [n for n, _ in made.isolate(batch)] == [1]


def test_a_delete_that_a_foreign_key_forbids(sink: MakeSink, run: Run) -> None:
    made = sink()
    before = made.claim({0: 1})
    stands = made.commit(
        [made.stage(rows(people((1, "a", 1), (2, "b", 2))))], steps(before, {0: 2})
    )
    run("CREATE TABLE pets (owner bigint REFERENCES people (id)); INSERT INTO pets VALUES (2)")
    batch = deleted(rows(people((1, None, None), (2, None, None)), start=2), 1, 2)
    assert [n for n, _ in made.isolate(batch)] == [1]
    stands = made.commit([made.stage(batch[:1])], steps(stands, {0: 4}))
    assert stands[0].totals.deleted == 1


def test_many_guilty_rows_are_found_in_reasonable_time(sink: MakeSink, run: Run) -> None:
    made = sink()
    run("ALTER TABLE people ADD CHECK (age % 10 <> 0)")
    made.claim({0: 1})
    batch = rows(people(*((i, None, i) for i in range(3000))))
    assert [n for n, _ in made.isolate(batch)] == list(range(0, 3000, 10))


def test_a_trigger_that_drops_rows_silently_is_refused(sink: MakeSink, run: Run) -> None:
    made = sink()
    run(RAISING.format(when="BEFORE").replace("RAISE EXCEPTION 'no twos'", "RETURN NULL"))
    before = made.claim({0: 1})
    with pytest.raises(Refused, match="silently"):
        made.commit([made.stage(rows(SOME))], steps(before, {0: 4}))


@pytest.mark.parametrize("mode", MODES)
def test_the_error_keeps_the_store_s_words(sink: MakeSink, run: Run, mode: str) -> None:
    made = sink(mode)
    run("ALTER TABLE people ADD CONSTRAINT grown_up CHECK (age > 17)")
    made.claim({0: 1})
    [(number, error)] = made.isolate(rows(people((1, "a", 18), (2, "b", 17))))
    assert (number, error.code) == (1, "23514")
    assert "grown_up" in str(error)
