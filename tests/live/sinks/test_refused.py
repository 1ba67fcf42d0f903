"""Tables that cannot be written, at the start or altered underfoot: a final no that says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import pytest

from penstock.contract import Contract, Digits, key
from penstock.errors import Refused
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps

MakeSink = Callable[..., PostgresqlSink]
Run = Callable[[str], list[tuple[object, ...]]]

SOME = people((1, "a", 1), (2, "b", 2))

ALTERED = {
    "dropped": ("DROP TABLE people", "was dropped"),
    "column dropped": ("ALTER TABLE people DROP email", "column 'email' is missing"),
    "column renamed": ("ALTER TABLE people RENAME email TO mail", "column 'email' is missing"),
    "type narrowed": ("ALTER TABLE people ALTER age TYPE int", "'age' is integer, not bigint"),
    "type widened": ("ALTER TABLE people ALTER age TYPE numeric", "'age' is numeric"),
    "column added": (
        "ALTER TABLE people ADD shoe int NOT NULL DEFAULT 1; "
        "ALTER TABLE people ALTER shoe DROP DEFAULT",
        "'shoe' is NOT NULL",
    ),
    "order dropped": ("ALTER TABLE people DROP _order", "'_order' bigint is missing"),
    "key dropped": ("ALTER TABLE people DROP CONSTRAINT people_pkey", "no unique index"),
    "replaced by a view": (
        "ALTER TABLE people RENAME TO p; CREATE VIEW people AS SELECT * FROM p",
        "is not a table",
    ),
}


@pytest.mark.parametrize("change", ALTERED)
def test_a_table_altered_underfoot(sink: MakeSink, run: Run, change: str) -> None:
    made = sink()
    before = made.claim({0: 1})
    stands = made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    statement, words = ALTERED[change]
    run(statement)
    with pytest.raises(Refused, match=words):
        made.commit([made.stage(rows(SOME, start=2))], steps(stands, {0: 4}))
    assert made.progress()[0].next == 2


@pytest.mark.parametrize("change", ALTERED)
def test_a_table_altered_between_runs(sink: MakeSink, run: Run, change: str) -> None:
    made = sink()
    before = made.claim({0: 1})
    made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    statement, words = ALTERED[change]
    run(statement)
    again = sink(opened=False)
    if change in ("column dropped", "column renamed"):  # a nullable column is simply added
        assert list(again.preview()) == [
            "add column 'email' text to table 'people' in schema 'public'"
        ]
        return
    with pytest.raises(Refused, match="gone" if change == "dropped" else words):
        again.preview()
    with pytest.raises(Refused):
        again.open()


def test_a_dropped_table_is_not_created_again_silently(sink: MakeSink, run: Run) -> None:
    made = sink()
    before = made.claim({0: 1})
    made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    run("DROP TABLE people")
    with pytest.raises(Refused, match="written 2 rows") as error:
        sink()
    assert "penstock.progress" in str(error.value)


def test_a_harmless_change_underfoot_goes_unnoticed(sink: MakeSink, run: Run) -> None:
    made = sink()
    before = made.claim({0: 1})
    run("ALTER TABLE people ADD note text; ALTER TABLE people ADD seen timestamptz DEFAULT now()")
    stands = made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    assert stands[0].totals.written == 2


def test_new_nullable_columns_are_added(sink: MakeSink, run: Run) -> None:
    class Wider(Contract):
        id: int = key()
        email: str | None
        age: int | None
        seen: datetime | None

    sink()
    wider = sink(contract=Wider, opened=False)
    assert list(wider.preview()) == [
        "add column 'seen' timestamp with time zone to table 'people' in schema 'public'"
    ]
    wider.open()
    assert list(wider.preview()) == []


def test_a_column_that_the_contract_lets_be_null_is_loosened(sink: MakeSink, run: Run) -> None:
    sink()
    run("ALTER TABLE people ALTER email SET NOT NULL")
    again = sink(opened=False)
    assert list(again.preview()) == [
        "let column 'email' of table 'people' in schema 'public' be null"
    ]
    again.open()
    assert list(again.preview()) == []


def test_a_decimal_that_gets_more_digits_is_widened(sink: MakeSink, run: Run) -> None:
    class Narrow(Contract):
        id: int = key()
        paid: Annotated[Decimal, Digits(6, 2)]

    class Wide(Contract):
        id: int = key()
        paid: Annotated[Decimal, Digits(9, 3)]

    sink(contract=Narrow)
    wider = sink(contract=Wide, opened=False)
    assert list(wider.preview()) == [
        "let column 'paid' of table 'people' in schema 'public' be numeric(9,3)"
    ]
    wider.open()
    assert list(wider.preview()) == []
    with pytest.raises(Refused, match=re.escape("numeric(9,3), not numeric(6,2)")):
        sink(contract=Narrow)


def test_a_new_required_column_is_refused(sink: MakeSink) -> None:
    class Stricter(Contract):
        id: int = key()
        email: str | None
        age: int | None
        name: str

    sink()
    with pytest.raises(Refused, match="column 'name' text is missing"):
        sink(contract=Stricter)


def test_a_table_of_somebody_else_is_refused_with_every_reason(sink: MakeSink, run: Run) -> None:
    run("CREATE TABLE people (id int, email varchar(20), born date NOT NULL)")
    with pytest.raises(Refused) as error:
        sink()
    for words in ("'id' is integer", "'email' is character varying(20)", "'born' is NOT NULL"):
        assert words in str(error.value)
    assert "'_order' bigint is missing" in str(error.value)
    assert "no unique index" in str(error.value)


def test_a_fitting_table_of_somebody_else_is_used(sink: MakeSink, run: Run) -> None:
    run(
        "CREATE TABLE people (_order bigint NOT NULL, age bigint, email text, note text, "
        "id bigint UNIQUE NOT NULL) PARTITION BY HASH (id); "
        "CREATE TABLE people_1 PARTITION OF people FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    )
    made = sink()
    before = made.claim({0: 1})
    made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    assert run("SELECT id, email, age FROM people ORDER BY id") == [(1, "a", 1), (2, "b", 2)]


@pytest.mark.parametrize("name", ["x" * 64, "☃" * 22, "", "nul\0"])
def test_names_that_postgresql_would_cut_are_refused(database: str, name: str) -> None:
    made = PostgresqlSink(database, lane(Person, "append", name), KEY)
    with pytest.raises(Refused, match="choose another name"):
        made.preview()


def test_no_permission(database: str, sink: MakeSink, run: Run) -> None:
    sink()
    run("CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA penstock TO guest")
    run("GRANT SELECT, INSERT, UPDATE ON penstock.progress TO guest")
    try:
        guest = PostgresqlSink(re.sub("//.*@", "//guest@", database), lane(Person, "upsert"), KEY)
        before = guest.claim({0: 1})
        with pytest.raises(Refused, match="permission denied"):
            guest.commit([guest.stage(rows(SOME))], steps(before, {0: 2}))
        guest.close()
    finally:
        run("DROP OWNED BY guest; DROP ROLE guest")


def test_partitions_that_were_not_claimed_are_refused(sink: MakeSink) -> None:
    made = sink()
    made.claim({0: 1})
    with pytest.raises(Refused, match="not claimed"):
        made.stage(rows(SOME, partition=3))
