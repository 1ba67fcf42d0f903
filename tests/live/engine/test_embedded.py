"""The embedded engine on a real PostgreSQL: the whole way, again, and with things going wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from tests.live.engine.conftest import Background, Given, Place

import penstock as ps
from penstock.engines.status import LaneStatus, State
from penstock.errors import CheckError, LogChanged, PlanFailed, Refused, Unavailable
from penstock.home import deadletters, replays
from penstock.home.database import Home

Begin = Callable[..., Background]


class Person(ps.Contract):
    name: str
    age: int


class User(ps.Contract):
    name: str = ps.key()
    age: int
    seen: datetime = ps.born()


def people(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"name": f"p{n % 50}", "age": n} for n in range(start, start + count)]


def program(
    source: Given,
    to_user: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows.select("name", "age"),
    *,
    second: bool = True,
) -> ps.Pipeline:
    pipeline = ps.Pipeline("people")
    users = pipeline.source(source, Person, land="raw").map(to_user, User)
    topic = users.topic("users", partitions=3)
    topic.sink("users", store="one")
    if second:
        topic.filter(pl.col("age") % 2 == 0).sink("even", store="two", mode="append")
    return pipeline


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_records_flow_from_the_source_to_the_tables(place: Place) -> None:
    pipeline = program(Given.records(*people(500)))
    place.run(pipeline)
    assert place.rows("SELECT count(*), max(age) FROM one.users") == [(50, 499)]
    assert place.rows("SELECT count(*) FROM two.even") == [(250,)]
    report = place.reconcile(pipeline)
    assert report.differences == ()
    assert [lane.rows for lane in report.lanes] == [500, 50, 250]


def test_a_second_run_goes_on_where_the_first_ended(place: Place) -> None:
    source = Given.records(*people(100))
    place.run(program(source))
    source.bodies += Given.records(*people(100, 100)).bodies
    place.run(program(source))
    assert place.rows("SELECT count(*) FROM two.even") == [(100,)]
    assert place.reconcile(program(source)).differences == ()


def test_bad_records_are_dead_letters_and_all_balances(place: Place) -> None:
    bodies = [b'[{"name": "a", "age": 1}, {"name": "b", "age": "2"}]', b"not json", b"[]"]
    pipeline = program(Given(bodies))
    place.run(pipeline)
    assert place.rows("SELECT name FROM one.users") == [("a",)]
    assert place.rows("SELECT count(*) FROM penstock.dead_letters WHERE state = 'dead'") == [(2,)]
    assert place.reconcile(pipeline).differences == ()


def test_replayed_letters_are_written_once_when_the_program_is_mended(place: Place) -> None:
    def broken(rows: pl.DataFrame) -> pl.DataFrame:
        if (rows["age"] == 7).any():
            raise ValueError("seven")
        return rows.select("name", "age")

    source = Given.records(*people(20))
    place.run(program(source, broken))
    assert place.rows("SELECT count(*) FROM one.users") == [(19,)]
    mended = program(source)
    with Home(place.url) as home, home.transaction() as cursor:
        sent = replays.replay(cursor, deadletters.Selection("people"), by="a test")
    assert sent.letters == 1
    place.run(mended)
    place.run(mended)
    assert place.rows("SELECT count(*) FROM one.users") == [(20,)]
    states = place.rows("SELECT state, count(*) FROM penstock.dead_letters GROUP BY 1")
    assert states == [("replayed", 1)]
    assert place.reconcile(mended).differences == ()


def test_rows_that_the_store_rejects_are_dead_for_that_lane(place: Place) -> None:
    source = Given.records(*people(10))
    place.run(program(source))
    place.rows("ALTER TABLE one.users ADD CHECK (age <> 15)")
    source.bodies += Given.records(*people(10, 10)).bodies
    place.run(program(source))
    letters = place.rows("SELECT lane, stage, state FROM penstock.dead_letters")
    assert letters == [("users@one", "store", "dead")]
    assert place.rows("SELECT count(*) FROM two.even") == [(10,)]
    assert place.reconcile(program(source)).differences == ()


def test_a_sink_added_later_catches_up_from_the_start(place: Place) -> None:
    source = Given.records(*people(300))
    place.run(program(source, second=False))
    source.bodies += Given.records(*people(20, 300)).bodies
    place.run(program(source))
    assert place.rows("SELECT count(*) FROM two.even") == [(160,)]
    assert place.reconcile(program(source)).differences == ()


def test_a_lane_far_behind_catches_up_alone_and_joins(place: Place, background: Begin) -> None:
    source = Given.records(*people(6_000), size=100)
    place.run(program(source, second=False))
    source.bodies += Given.records(*people(100, 6_000)).bodies
    running = background(place.engine(program(source), batch_records=500))
    eventually(lambda: _lane(running, "even@two").state is State.RUNNING)
    running.stop()
    assert "lane even@two is catching up" in [event.message for event in place.events]
    place.run(program(source))
    assert place.rows("SELECT count(*) FROM two.even") == [(3_050,)]
    assert place.reconcile(program(source)).differences == ()


def test_a_store_that_is_away_never_stops_the_other_lane(place: Place, background: Begin) -> None:
    source = Given.records(*people(200))
    pipeline = program(source)
    nowhere = "postgresql://nobody@localhost:1/nothing?connect_timeout=1"
    profile = place.profile(two=nowhere)
    running = background(place.engine(pipeline, profile))
    eventually(lambda: _lane(running, "users@one").counts.records == 200)
    away = _lane(running, "even@two")
    assert (away.state, away.counts.records) == (State.WAITING, 0)
    assert away.reason
    running.stop()
    place.run(pipeline)
    assert place.rows("SELECT count(*) FROM two.even") == [(100,)]
    assert place.reconcile(pipeline).differences == ()


def test_a_run_that_is_out_of_time_while_a_store_is_away_says_so(place: Place) -> None:
    nowhere = "postgresql://nobody@localhost:1/nothing?connect_timeout=1"
    with pytest.raises(Unavailable, match=r"time is up.*localhost"):
        place.run(program(Given.records(*people(20))), place.profile(two=nowhere), for_seconds=4.0)


def test_a_run_that_is_out_of_time_with_records_on_their_way_says_so(place: Place) -> None:
    def slow(people: pl.DataFrame) -> pl.DataFrame:
        time.sleep(3)
        return people.select("name", "age")

    pipeline = program(Given.records(*people(20)), slow)
    with pytest.raises(Unavailable, match=r"time is up.*users@log is "):
        place.run(pipeline, for_seconds=0.5)
    place.run(program(Given.records(*people(20))))
    assert place.rows("SELECT count(*) FROM one.users") == [(20,)]


def test_a_store_that_refuses_stops_its_own_lane_alone(place: Place) -> None:
    place.rows("CREATE SCHEMA two")
    place.rows("CREATE TABLE two.even (colour int NOT NULL)")
    pipeline = program(Given.records(*people(200)))
    with pytest.raises(Refused, match="even"):
        place.run(pipeline)
    assert place.rows("SELECT count(*) FROM one.users") == [(50,)]
    stopped = [event for event in place.events if "stopped" in event.message]
    assert [event.level for event in stopped if "even@two" in event.message] == ["error"]
    assert not [event for event in stopped if "users@one" in event.message]
    place.rows("DROP TABLE two.even")
    place.run(pipeline)
    assert place.rows("SELECT count(*) FROM two.even") == [(100,)]
    assert place.reconcile(pipeline).differences == ()


def test_a_store_that_refuses_in_the_middle_stops_its_own_lane(
    place: Place, background: Begin
) -> None:
    pipeline = program(Given.records(*people(20_000), size=50))
    running = background(place.engine(pipeline, batch_records=500))
    eventually(lambda: _lane(running, "even@two").counts.records >= 1_000, 60)
    place.rows("ALTER TABLE two.even RENAME TO gone")
    eventually(lambda: _lane(running, "even@two").state is State.STOPPED, 60)
    eventually(lambda: _lane(running, "users@one").counts.records == 20_000, 60)
    with pytest.raises(Refused, match="even"):
        running.stop()
    place.rows("ALTER TABLE two.gone RENAME TO even")
    place.run(pipeline)
    assert place.rows("SELECT count(*) FROM two.even") == [(10_000,)]
    assert place.reconcile(pipeline).differences == ()


def test_connections_lost_in_the_middle_are_made_anew(place: Place, background: Begin) -> None:
    source = Given.records(*people(20_000), size=50)
    pipeline = program(source)
    running = background(place.engine(pipeline, batch_records=500))
    for records in (1_000, 5_000, 10_000):
        eventually(lambda: _lane(running, "users@one").counts.records >= records)  # noqa: B023
        place.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'penstock:%' AND datname = current_database()"
        )
    eventually(lambda: place.rows("SELECT count(*) FROM two.even") == [(10_000,)], 60)
    running.stop()
    assert place.reconcile(pipeline).differences == ()


def test_a_second_process_stands_by_and_says_who_works(place: Place, background: Begin) -> None:
    pipeline = program(Given.records(*people(10)))
    first = background(place.engine(pipeline))
    eventually(lambda: _lane(first, "users@one").counts.records == 10)
    second = background(place.engine(pipeline))
    eventually(lambda: _lane(second, "users@one").state is State.STANDING_BY)
    assert "process" in _lane(second, "users@one").reason
    first.stop()
    eventually(lambda: _lane(second, "users@one").state is State.RUNNING)
    second.stop()


def test_a_take_over_fences_the_process_that_works(place: Place, background: Begin) -> None:
    source = Given.records(*people(20_000), size=50)
    pipeline = program(source)
    first = background(place.engine(pipeline, batch_records=300))
    eventually(lambda: _lane(first, "users@one").counts.records > 0)
    second = background(place.engine(pipeline, batch_records=300, take_over=True))
    eventually(lambda: place.rows("SELECT count(*) FROM two.even") == [(10_000,)], 60)
    assert _lane(first, "users@one").state is State.STANDING_BY
    first.stop()
    second.stop()
    assert place.reconcile(pipeline).differences == ()


def test_a_log_made_anew_is_refused_unless_accepted(place: Place) -> None:
    pipeline = ps.Pipeline("people")
    pipeline.topic("users", User).sink("users", store="one")
    place.run(pipeline)
    place.rows("UPDATE penstock.logs SET log_id = gen_random_uuid()")
    with pytest.raises(LogChanged, match="is not the one"):
        place.run(pipeline)
    place.run(pipeline, accept_log=True)


def test_a_log_with_another_record_where_a_lane_stands_is_refused(place: Place) -> None:
    pipeline = program(Given.records(*people(10)))
    place.run(pipeline)
    place.rows("""UPDATE landing.raw SET value = '[]'""")
    with pytest.raises(LogChanged, match="restored from a backup"):
        place.run(pipeline)


def test_a_map_that_fails_whole_stops_the_run_with_its_error(place: Place) -> None:
    def wrong(rows: pl.DataFrame) -> pl.DataFrame:
        if rows["name"].str.starts_with("p").any():
            raise ValueError("never works")
        return rows.select("name", "age")

    with pytest.raises(PlanFailed, match="never works"):
        place.run(program(Given.records(*people(100)), wrong))
    assert place.rows("SELECT sum(records) FROM penstock.ledger") == [(None,)]


def test_a_segment_that_stops_leaves_the_others_at_work(place: Place) -> None:
    def wrong(rows: pl.DataFrame) -> pl.DataFrame:
        if rows["name"].str.starts_with("p").any():
            raise ValueError("never works")
        return rows

    pipeline = ps.Pipeline("two")
    people_read = pipeline.source(Given.records(*people(100)), Person, land="raw")
    people_read.sink("good", store="one", mode="append")
    people_read.topic("people").map(wrong, Person).sink("bad", store="one")
    other = pipeline.source(Given.records(*people(70)), Person, land="other")
    other.sink("other", store="one", mode="append")
    with pytest.raises(PlanFailed, match="never works"):
        place.run(pipeline)
    assert place.rows("SELECT count(*) FROM one.good") == [(100,)]
    assert place.rows("SELECT count(*) FROM one.other") == [(70,)]
    assert place.rows("SELECT count(*) FROM one.bad") == [(0,)]


def test_a_misspelt_column_is_found_before_any_record(place: Place) -> None:
    with pytest.raises(CheckError, match="nme"):
        place.run(program(Given.records(*people(1)), lambda rows: rows.select("nme", "age")))


def _lane(running: Background, name: str) -> LaneStatus:
    """A lane's status, as soon as the engine has begun."""

    def found() -> list[LaneStatus]:
        return [lane for lane in running.engine.board.snapshot().lanes if lane.lane == name]

    eventually(lambda: bool(found() or running.errors))
    return found()[0]
