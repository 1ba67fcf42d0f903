"""Rows that others stage for PostgreSQL: crashes, locks, leftovers, and what the store refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from polars.testing import assert_frame_equal
from tests.live.sinks.conftest import MakeSink

from penstock import faults
from penstock.errors import Fenced, PenstockError, Refused, Rejected, Unavailable
from penstock.records import Counts, Receipt
from penstock.services.postgresql import EmbeddedPostgresql
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps

Run = Callable[[str], list[tuple[object, ...]]]

MODES = ("append", "upsert")
SOME = people((1, "a@x", 10), (2, "b@x", None), (3, None, 30))
STAGES = "SELECT relname FROM pg_class WHERE relname LIKE 'stage\\_%' AND relkind = 'r'"


def in_table(made: PostgresqlSink) -> int:
    return sum(frame.height for frame in made.positions())


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_a_crash_of_the_server_took_are_noticed(tmp_path: Path, mode: str) -> None:
    server = EmbeddedPostgresql(tmp_path / ".penstock")
    with server.session() as url, contextlib.ExitStack() as closing:

        def sink() -> PostgresqlSink:
            made = PostgresqlSink(url, lane(Person, mode), KEY)
            closing.callback(made.close)
            return made

        made, task = sink(), sink()
        made.open()
        before = made.claim({0: 1})
        place = task.lay(1, 0, 1)
        receipt = task.stage_apart(place, rows(SOME))
        _crash(server)
        with pytest.raises(Unavailable):
            made.commit([receipt], steps(before, {0: 3}))
        again = sink()
        assert again.claim({0: 1}) == before
        with pytest.raises(Unavailable, match="lost"):
            again.commit([receipt], steps(before, {0: 3}))
        assert in_table(again) == 0
        with contextlib.suppress(Unavailable):  # its connection is gone
            task.stage_apart(place, rows(SOME))
        receipt = task.stage_apart(task.lay(1, 0, 1), rows(SOME))
        stands = again.commit([receipt], steps(before, {0: 3}))
        assert in_table(again) == stands[0].totals.written == 3


def _crash(server: EmbeddedPostgresql) -> None:
    """Kill the server as a loss of power would, and start it."""
    pid = server.status().pid
    assert pid is not None
    victims = [psutil.Process(pid), *psutil.Process(pid).children()]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=30)
    server.ensure()


@pytest.mark.timeout(60)
def test_a_table_that_somebody_locks_is_left_for_later(
    sink: MakeSink, run: Run, database: str
) -> None:
    made, task = sink(), sink(opened=False)
    before = made.claim({0: 1})
    place = task.lay(1, 0, 1)
    receipt = task.stage_apart(place, rows(SOME))
    with psycopg.connect(database) as late:
        late.execute(f"LOCK TABLE penstock.{place} IN ROW EXCLUSIVE MODE")
        stands = made.commit([receipt], steps(before, {0: 3}))
        made.sweep(1)
        successor = sink()
        successor.claim({0: 2})
        successor.sweep(2)
        assert run(STAGES) == [(place,)]
    successor.sweep(2)
    assert run(STAGES) == []
    assert stands[0].totals == Counts(records=3, written=3)


def test_a_commit_leaves_no_table_behind(sink: MakeSink, run: Run) -> None:
    made, task = sink(), sink(opened=False)
    stands = made.claim({0: 1})
    task.lay(1, 0, 1)  # was run again, and its rows came back
    receipt = task.stage_apart(task.lay(2, 0, 1), rows(SOME))
    next_place = task.lay(3, 0, 1)
    made.commit([receipt], steps(stands, {0: 3}))
    assert run(STAGES) == [(next_place,)]


def test_only_who_was_overtaken_loses_tables(sink: MakeSink, run: Run) -> None:
    first, second, task = sink(), sink(), sink(opened=False)
    before = first.claim({0: 1})
    second.claim({1: 7})
    mine, dead = task.lay(1, 0, 1), task.lay(2, 1, 3)
    second.sweep(7)
    assert run(STAGES) == [(mine,)]
    assert dead != mine
    receipt = task.stage_apart(mine, rows(SOME))
    assert first.commit([receipt], steps(before, {0: 3}))[0].totals.written == 3
    with pytest.raises(Unavailable, match="lost"):
        task.stage_apart(dead, rows(SOME))


def test_tables_for_a_log_that_was_made_anew_are_swept(
    sink: MakeSink, run: Run, database: str
) -> None:
    sink()
    former = PostgresqlSink(database, lane(Person, "upsert"), replace(KEY, log_id="log-0"))
    former.lay(1, 0, 1)
    former.close()
    made = sink()
    made.claim({0: 2})
    made.sweep(2)
    assert run(STAGES) == []


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_exclude_each_other_are_rejected(sink: MakeSink, run: Run, mode: str) -> None:
    made, tasks = sink(mode), [sink(mode, opened=False) for _ in range(2)]
    run("ALTER TABLE people ADD UNIQUE (email)")
    before = made.claim({0: 1, 1: 1})
    place = tasks[0].lay(1, 0, 1)
    receipts = [
        task.stage_apart(place, rows(people((at, "same@x", 1)), partition=at))
        for at, task in enumerate(tasks)
    ]
    with pytest.raises(Rejected):
        made.commit(receipts, steps(before, {0: 1, 1: 1}))
    assert in_table(made) == 0
    assert made.progress() == before


@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_that_drops_rows_silently_is_refused(sink: MakeSink, run: Run, mode: str) -> None:
    made, task = sink(mode), sink(mode, opened=False)
    run(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION drop_it()"
    )
    before = made.claim({0: 1})
    receipt = task.stage_apart(task.lay(1, 0, 1), rows(SOME))
    with pytest.raises(Refused, match="silently"):
        made.commit([receipt], steps(before, {0: 3}))


def test_a_table_that_was_dropped_meanwhile_is_refused(sink: MakeSink, run: Run) -> None:
    made, task = sink(), sink(opened=False)
    before = made.claim({0: 1})
    receipt = task.stage_apart(task.lay(1, 0, 1), rows(SOME))
    run("DROP TABLE people")
    with pytest.raises(Refused, match="dropped"):
        made.commit([receipt], steps(before, {0: 3}))


def test_one_who_was_overtaken_is_fenced_although_its_rows_are_there(sink: MakeSink) -> None:
    old, new, task = sink(), sink(), sink(opened=False)
    before = old.claim({0: 1})
    receipt = task.stage_apart(task.lay(1, 0, 1), rows(SOME))
    new.claim({0: 2})
    with pytest.raises(Fenced):
        old.commit([receipt], steps(before, {0: 3}))
    assert in_table(new) == 0


def test_receipts_of_another_lane_or_batch_are_refused(sink: MakeSink, database: str) -> None:
    made, task = sink(), sink(opened=False)
    before = made.claim({0: 1})
    first = task.stage_apart(task.lay(1, 0, 1), rows(SOME[:1]))
    second = task.stage_apart(task.lay(2, 0, 1), rows(SOME[1:], start=1))
    with pytest.raises(Refused, match="not its own"):
        made.commit([first, second], steps(before, {0: 3}))
    strange = Receipt(first.rows, first.token.replace("stage_", "stage_0"))
    with pytest.raises(Refused, match="not its own"):
        made.commit([strange], steps(before, {0: 1}))


def test_a_task_that_dies_in_its_copy_stages_nothing(sink: MakeSink, run: Run) -> None:
    made, task = sink(), sink(opened=False)
    before = made.claim({0: 1})
    place = task.lay(1, 0, 1)

    def die() -> None:
        raise RuntimeError("the executor died")

    faults.arm("copying", die)
    with pytest.raises((RuntimeError, PenstockError)):
        task.stage_apart(place, rows(SOME))
    faults.disarm()
    task.close()
    receipt = sink(opened=False).stage_apart(place, rows(SOME))
    made.commit([receipt], steps(before, {0: 3}))
    found = next(iter(made.positions())).select(SOME.columns).sort("id")
    assert_frame_equal(found, SOME)
