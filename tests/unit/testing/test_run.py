from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import polars as pl
import pytest

import penstock as ps
from penstock import testing
from penstock.errors import DeclarationError, PlanFailed
from penstock.interfaces import Response
from penstock.records import Counts


class Person(ps.Contract):
    name: str
    born: Annotated[Decimal, ps.Digits(6, 2)]


class User(ps.Contract):
    id: str = ps.key()
    year: int
    added: datetime = ps.born()


class Summary(ps.Contract):
    id: str


def to_user(people: pl.DataFrame) -> pl.DataFrame:
    year = pl.col("born").cast(pl.Int64)
    return people.select(id=pl.col("name").str.to_lowercase(), year=year)


def shorten(users: pl.DataFrame) -> pl.DataFrame:
    return users.select("id")


def users() -> ps.pipeline.Stream:
    pipeline = ps.Pipeline("users")
    source = ps.Http("https://example.com", records="data.people", every="1m")
    people = pipeline.source(source, Person, land="raw_users")
    return people.map(to_user, User).topic("users_created", partitions=3)


def program() -> ps.Pipeline:
    stream = users()
    stream.sink("users", store="warehouse")
    stream.sink("history", store="warehouse", mode="append")
    stream.filter(pl.col("year") > 1900).sink("users", store="serving")
    return stream.pipeline


def test_a_pipeline_runs_from_its_source_to_every_sink() -> None:
    records: testing.Records = [
        {"name": "Ada", "born": Decimal("1815.5")},
        {"name": "ADA", "born": Decimal(1816)},
        {"name": "Tim", "born": 1955},
        {"name": "Bob"},
        b"not JSON",
    ]
    now = datetime(2026, 5, 6, tzinfo=UTC)
    result = testing.run(program(), records, born=now)
    ada = {"id": "ada", "year": 1816, "added": now}
    tim = {"id": "tim", "year": 1955, "added": now}
    assert sorted(result["users@warehouse"], key=lambda row: row["id"]) == [ada, tim]
    assert result["users@serving"] == [tim]
    assert result.frame("history").height == 3
    assert len(result["users_created"]) == 3
    assert result.count("users_created") == Counts(records=5, written=3, dead=2)
    assert result.count("users@warehouse") == Counts(records=3, written=2, superseded=1)
    assert result.count("users@serving") == Counts(records=3, written=1, filtered=2)
    assert all(counts.balanced for counts in result.counts.values())
    bob, junk = result.letters
    assert (bob.log, bob.cause.field, bob.lanes) == ("raw_users", "born", ("users_created@log",))
    assert junk.value == b"not JSON"


def test_responses_are_given_whole() -> None:
    body = b'{"data":{"people":[{"name":"Ada","born":1815},{"name":"Tim","born":1955}]}}'
    for records in ([body], [body.decode()], [Response(body, None)]):
        assert [row["id"] for row in testing.run(users(), records).rows] == ["ada", "tim"]


def test_one_stream_runs_without_the_rest() -> None:
    stream = users()
    stream.map(fails, User).sink("never", store="w")
    result = testing.run(stream.filter(pl.col("year") > 1900), [{"name": "A", "born": 1}])
    assert result.rows == []
    assert result.count() == Counts(records=1, filtered=1)


def fails(frame: pl.DataFrame) -> pl.DataFrame:
    raise RuntimeError("this is not part of the stream")


def test_records_can_be_given_to_any_log_by_name() -> None:
    given: dict[str, testing.Records] = {
        "users_created": [{"id": "x", "year": 1}, testing.delete(id="x"), {"id": "y", "year": 2}]
    }
    result = testing.run(program(), given)
    assert [row["id"] for row in result["users@warehouse"]] == ["y"]
    counts = result.count("users@warehouse")
    assert counts.balanced
    assert (counts.records, counts.written) == (3, 1)
    assert result.count("history") == Counts(records=3, written=2, dead=1)
    with pytest.raises(ValueError, match="nothing reads 'user'"):
        testing.run(program(), {"user": []})


def test_two_beginnings_must_be_told_apart() -> None:
    pipeline = ps.Pipeline("p")
    pipeline.topic("a", User).sink("a", store="w")
    pipeline.topic("b", User).sink("b", store="w")
    with pytest.raises(ValueError, match="say where the records go"):
        testing.run(pipeline, [])
    result = testing.run(pipeline, {"a": [{"id": "1", "year": 1}]})
    assert (len(result["a"]), len(result["b"])) == (1, 0)
    with pytest.raises(KeyError, match="0 lanes are called 'c'; there are a@w, b@w"):
        result["c"]


def test_an_ambiguous_lane_is_told() -> None:
    with pytest.raises(KeyError, match="2 lanes are called 'users'"):
        testing.run(program(), [])["users"]


def test_a_map_that_is_not_row_wise_fails_the_run() -> None:
    def ranked(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(year=pl.col("year").rank("ordinal").cast(pl.Int64))

    stream = users().map(ranked, User)
    with pytest.raises(PlanFailed, match="ranked is not row-wise"):
        testing.run(stream, [{"name": "A", "born": 9}, {"name": "B", "born": 5}])


def test_a_single_map_is_checked_on_made_up_or_given_rows() -> None:
    assert testing.check_map(to_user, Person, User).height == 100
    given = pl.DataFrame(
        {"name": ["Ada"], "born": [Decimal(1815)]},
        schema={"name": pl.String, "born": pl.Decimal(6, 2)},
    )
    assert testing.check_map(to_user, Person, User, given)["year"].to_list() == [1815]
    with pytest.raises(PlanFailed, match=r"must be row-wise|is not row-wise"):
        testing.check_map(lambda f: f.select(id="name", year=pl.len().cast(pl.Int64)), Person, User)
    with pytest.raises(DeclarationError, match="one frame") as caught:
        testing.check_map(lambda: given, Person, User)  # type: ignore[arg-type,misc]
    assert caught.value.file == __file__


def test_merged_streams_meet_in_one_topic() -> None:
    pipeline = ps.Pipeline("users")
    web = pipeline.source(ps.Generator(Person, rows=1), Person, land="raw_web").map(to_user, User)
    app = pipeline.topic("app", User)
    both = web.merge(app.filter(pl.col("year") > 1900)).topic("all")
    both.sink("users", store="warehouse")
    given: dict[str, testing.Records] = {
        "raw_web": [{"name": "Ada", "born": "1815.00"}],
        "app": [{"id": "grace", "year": 1906}, {"id": "emmy", "year": 1882}],
    }
    result = testing.run(pipeline, given)
    assert {row["id"] for row in result["users"]} == {"ada", "grace"}
    assert result.count("all") == Counts(records=3, written=2, filtered=1)
    assert testing.run(both, given).frame().height == result.frame("all").height == 2
