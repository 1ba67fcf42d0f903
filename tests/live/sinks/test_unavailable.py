"""A store that goes away, fills up or is locked; a writer that is stopped while others go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import polars as pl
import psycopg
import pytest

from penstock import faults
from penstock.contract import Contract, key
from penstock.errors import Fenced, Refused, Unavailable
from penstock.postgresql import connection
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps

MakeSink = Callable[..., PostgresqlSink]
Run = Callable[[str], list[tuple[object, ...]]]

MODES = ("upsert", "append")
SOME = people((1, "a", 1), (2, "b", 2))
MANY = people(*((i, f"{i}@x", i) for i in range(50_000)))

KILL = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE application_name LIKE 'penstock:%' AND datname = current_database()"
)

RAISING = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION fail()
"""


def goes_on(made: PostgresqlSink, run: Run) -> None:
    """After an error the sink claims, writes and counts as if nothing had been."""
    made.rollback()
    before = made.claim({0: 1})
    assert before[0].next == 0
    stands = made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    assert stands[0].totals.written == 2
    assert run("SELECT count(*) FROM people") == [(2,)]


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_lost_in_the_middle_of_a_copy(sink: MakeSink, run: Run, mode: str) -> None:
    made = sink(mode)
    made.claim({0: 1})

    def kill() -> None:
        run(KILL)

    faults.arm("copying", kill)
    with pytest.raises(Unavailable):
        made.stage(rows(MANY))
    faults.disarm()
    goes_on(made, run)


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_lost_between_stage_and_commit(sink: MakeSink, run: Run, mode: str) -> None:
    made = sink(mode)
    before = made.claim({0: 1})
    receipt = made.stage(rows(SOME))
    run(KILL)
    with pytest.raises(Unavailable):
        made.commit([receipt], steps(before, {0: 2}))
    goes_on(made, run)


@pytest.mark.parametrize("code", ["53100", "53200", "53300", "57P03", "40P01", "40001", "55P03"])
@pytest.mark.parametrize("mode", MODES)
def test_a_store_short_of_something_is_unavailable(
    sink: MakeSink, run: Run, mode: str, code: str
) -> None:
    made = sink(mode)
    before = made.claim({0: 1})
    run(RAISING.format(code=code))
    with pytest.raises(Unavailable, match=code):
        made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    with pytest.raises(Unavailable):
        made.isolate(rows(SOME))
    run("DROP TRIGGER fail ON people")
    goes_on(made, run)


def test_no_more_space_for_temporary_rows(sink: MakeSink, run: Run) -> None:
    """The server's own quota for temporary files, met for real."""
    made = sink()
    before = made.claim({0: 1})
    run(
        "CREATE FUNCTION sort_much() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM count(*) FROM (SELECT g FROM generate_series(1, 300000) g ORDER BY g DESC) s; "
        "RETURN new; END $$; "
        "CREATE TRIGGER sort_much BEFORE INSERT ON people FOR EACH ROW "
        "EXECUTE FUNCTION sort_much(); "
        "ALTER FUNCTION sort_much SET temp_file_limit = '64kB'; "
        "ALTER FUNCTION sort_much SET work_mem = '64kB'"
    )
    with pytest.raises(Unavailable, match="temporary file size"):
        made.commit([made.stage(rows(SOME))], steps(before, {0: 2}))
    run("DROP TRIGGER sort_much ON people")
    goes_on(made, run)


def test_a_table_that_somebody_locks_is_unavailable(
    database: str, sink: MakeSink, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection._SESSION, "lock_timeout", "200ms")
    made = sink()
    made.claim({0: 1})
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE people IN SHARE MODE")
        with pytest.raises(Unavailable, match="55P03"):
            made.stage(rows(SOME))
    goes_on(made, run)


def test_progress_that_somebody_locks_is_unavailable(database: str, sink: MakeSink) -> None:
    made = sink()
    made.claim({0: 1})
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM penstock.progress FOR UPDATE")
        with pytest.raises(Unavailable, match="session that is not of Penstock"):
            sink().claim({0: 2})


def test_progress_that_another_role_locks_is_unavailable(
    database: str, sink: MakeSink, run: Run
) -> None:
    made = sink()
    made.claim({0: 1})
    made.stage(rows(SOME))
    run("CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA penstock TO guest")
    run("GRANT SELECT, INSERT, UPDATE ON penstock.progress TO guest")
    try:
        guest = PostgresqlSink(re.sub("//.*@", "//guest@", database), lane(Person, "upsert"), KEY)
        with pytest.raises(Unavailable, match=r"session \d+ of role 'penstock'"):
            guest.claim({0: 2})
    finally:
        run("DROP OWNED BY guest; DROP ROLE guest")


def test_too_many_connections_are_unavailable(database: str, sink: MakeSink, run: Run) -> None:
    sink()
    name = run("SELECT current_database()")[0][0]
    run("CREATE ROLE crowd LOGIN")
    try:
        run(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        crowd = PostgresqlSink(re.sub("//.*@", "//crowd@", database), lane(Person, "upsert"), KEY)
        with pytest.raises(Unavailable, match="too many connections"):
            crowd.open()
        with pytest.raises(Unavailable, match="too many connections"):
            list(crowd.positions())
    finally:
        run(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        run("DROP ROLE crowd")


def test_no_server_is_unavailable(tmp_path: object) -> None:
    made = PostgresqlSink(f"postgresql://u:secret@/db?host={tmp_path}", lane(Person, "append"), KEY)
    for call in (made.open, made.preview, made.progress, lambda: made.claim({0: 1})):
        with pytest.raises(Unavailable) as error:
            call()
        assert "secret" not in str(error.value)


def test_a_database_that_is_gone_is_refused(database: str) -> None:
    made = PostgresqlSink(database.replace("/test_", "/no_such_"), lane(Person, "append"), KEY)
    with pytest.raises(Refused, match="does not exist"):
        made.open()


STALLS = """
import sys
from penstock import faults
from penstock.postgresql import connection
from penstock.sinks.postgresql import PostgresqlSink
from penstock.testing.conformance.subjects import KEY, Person, lane, people, rows, steps
import os, signal
url, mode, point = sys.argv[1:]
made = PostgresqlSink(url, lane(Person, mode), KEY)
before = made.claim({0: 1})
def stop():
    faults.disarm()
    os.kill(os.getpid(), signal.SIGSTOP)
some = rows(people(*((i, "old", i) for i in range(20_000))))
if point != "staged":
    faults.arm("copying", stop)
try:
    if point == "copying apart":
        receipt = made.stage_apart(made.lay(1, 0, 1), some)
    else:
        receipt = made.stage(some)
    if point == "staged":
        stop()
    made.commit([receipt], steps(before, {0: 20_000}))
    print("committed")
except Exception as error:
    print(type(error).__name__)
"""


@contextmanager
def stopped(database: str, mode: str, point: str) -> Iterator[subprocess.Popen[str]]:
    """A process that stages 20,000 rows and is stopped at the point."""
    command = [sys.executable, "-W", "ignore", "-c", STALLS, database, mode, point]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), process.stderr and process.stderr.read()
            yield process
        finally:
            process.kill()


class Wider(Contract):
    """A person, as a newer program has it."""

    id: int = key()
    email: str | None
    age: int | None
    seen: datetime | None


@pytest.mark.parametrize("contract", [Person, Wider], ids=["same program", "changed program"])
@pytest.mark.parametrize("point", ["copying", "copying apart", "staged"])
@pytest.mark.parametrize("mode", MODES)
def test_a_stopped_writer_is_fenced_and_holds_nobody_up(
    database: str, sink: MakeSink, run: Run, mode: str, point: str, contract: type[Contract]
) -> None:
    sink(mode)
    with stopped(database, mode, point) as process:
        started = time.monotonic()
        made = sink(mode, contract)
        before = made.claim({0: 2})
        made.sweep(2)
        some = rows(SOME)
        if contract is Wider:
            some = some.with_columns(seen=pl.lit(None, pl.Datetime("us", "UTC")))
        stands = made.commit([made.stage(some)], steps(before, {0: 2}))
        assert time.monotonic() - started < 20, "no time-out of the server's is shorter than 30 s"
        process.send_signal(signal.SIGCONT)
        answer, problems = process.communicate(timeout=30)
    assert answer.strip() in (Fenced.__name__, Unavailable.__name__), problems
    assert made.progress() == stands
    assert run("SELECT count(*) FROM people") == [(2,)]
