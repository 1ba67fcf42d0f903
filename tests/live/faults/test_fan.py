"""Writers of one topic and its readers elsewhere are killed; every row is there once."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from subprocess import Popen

import polars as pl
import pytest
from tests.live.conftest import SYSTEMS
from tests.live.project import Project

from penstock.logs import kafka, postgresql
from penstock.logs.paging import pages

PEOPLE = """
import json
import os

import penstock as ps
from penstock.interfaces import Framing, Response

class Person(ps.Contract):
    name: str
    age: int

class User(ps.Contract):
    name: str = ps.key()
    age: int

class People:
    framing = Framing(many=True)
    every = None

    def __init__(self, first):
        self.first, self.rows = first, int(os.environ["ROWS"])

    def describe(self):
        return "people"

    def check(self):
        pass

    def poll(self, cursor, clock):
        for row in range(cursor or 0, self.rows, 5):
            clock.wait(0.02)
            people = [{"name": f"p{self.first + n}", "age": n} for n in range(row, row + 5)]
            yield Response(json.dumps(people).encode(), row + 5)

pipeline = ps.Pipeline("people")
"""
MERGED = f"""{PEOPLE}
web = pipeline.source(People(0), Person, land="raw_web").map(lambda rows: rows, User)
app = pipeline.source(People(100), Person, land="raw_app").map(lambda rows: rows, User)
users = web.merge(app).topic("users", partitions=2)
users.sink("users", store="one")
users.sink("history", store="two", mode="append")
"""
WRITER = f"""{PEOPLE}
people = pipeline.source(People(0), Person, land="raw")
people.map(lambda rows: rows, User).topic("users", partitions=2)
"""
READER = """
import penstock as ps

class User(ps.Contract):
    name: str = ps.key()
    age: int

pipeline = ps.Pipeline("reader")
users = pipeline.topic("users", User)
users.sink("users", store="one")
users.sink("history", store="two", mode="append")
"""
POINTS = (
    "landed:KILL:9",
    "staged:KILL:5",
    "committing:KILL:7",
    "between-sinks:KILL:2",
    "committed:KILL:6",
)

ENDLESS = "1000000"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.parametrize("project", SYSTEMS[:2], indirect=True),
]

Rows = Counter[tuple[str, int]]


def rows_in(project: Project, landing: str) -> int:
    return 5 * int(project.rows(f"SELECT count(*) FROM landing.{landing}")[0][0])


def in_topic(project: Project) -> Rows:
    name = f"{project.prefix}users"
    log = (
        kafka.open_topic(project.log, name)
        if project.log
        else postgresql.open_topic(project.url, name)
    )
    with closing(log):
        users = [json.loads(value) for value in pl.concat(pages(log))["value"]]
    return Counter((user["name"], user["age"]) for user in users)


def in_history(project: Project) -> Rows:
    return Counter(project.table("two", "history", "name, age"))


def latest(project: Project) -> dict[str, int]:
    """Of each name what stands last in the topic, as the table of all rows tells."""
    columns = "name, age FROM two.history ORDER BY _partition, _offset"
    return dict(project.rows(f"SELECT {columns}"))


def flowing(project: Project) -> bool:
    made = project.rows("SELECT to_regclass('penstock.ledger') IS NOT NULL") == [(True,)]
    return made and project.rows("SELECT count(*) > 0 FROM penstock.ledger") == [(True,)]


def until(holds: Callable[[], bool], *processes: Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def test_writers_of_one_topic_are_killed_and_every_row_is_there_once(project: Project) -> None:
    project.patience = 240
    project.write(MERGED)
    project.environment["ROWS"] = ENDLESS
    for point in POINTS:
        project.environment["PENSTOCK_FAULT"] = point
        ran = project.penstock("run", "program.py", "--until-idle", code=None)
        assert ran.returncode == -signal.SIGKILL, (point, ran.stdout, ran.stderr)
    del project.environment["PENSTOCK_FAULT"]
    landed = max(rows_in(project, "raw_web"), rows_in(project, "raw_app")) + 100
    project.environment["ROWS"] = str(landed)
    project.run()
    project.balance()
    rows = Counter((f"p{first + n}", n) for first in (0, 100) for n in range(landed))
    assert in_topic(project) == rows
    assert in_history(project) == rows
    assert dict(project.table("one", "users", "name, age")) == latest(project)


def test_a_writer_and_a_reader_are_killed_while_the_other_runs(project: Project) -> None:
    project.patience = 240
    project.write(WRITER, "writer.py")
    project.write(READER, "reader.py")
    project.environment["ROWS"] = ENDLESS
    writer = project.start("run", "writer.py")
    until(lambda: flowing(project), writer)
    project.environment["PENSTOCK_FAULT"] = "between-sinks:KILL:3"
    project.penstock("run", "reader.py", code=-signal.SIGKILL)
    del project.environment["PENSTOCK_FAULT"]
    seen = in_history(project).total()
    reader = project.start("run", "reader.py")
    until(lambda: in_history(project).total() > seen + 200, writer, reader)
    writer.kill()
    writer.communicate()
    landed = rows_in(project, "raw") + 100
    project.environment["ROWS"] = str(landed)
    project.run(program="writer.py")
    until(lambda: in_history(project).total() >= landed, reader)
    reader.terminate()
    words = b"".join(reader.communicate(timeout=240)).decode()
    assert reader.returncode == 0, words
    project.balance("writer.py")
    project.balance("reader.py")
    rows = Counter((f"p{n}", n) for n in range(landed))
    assert in_topic(project) == in_history(project) == rows
    assert Counter(project.table("one", "users", "name, age")) == rows
