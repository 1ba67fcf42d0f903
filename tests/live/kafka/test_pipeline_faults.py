"""A broker that goes away under a running pipeline: said, waited for, and nothing lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest
from tests.live.project import Project
from tests.stack.servers import Server, Servers

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int

pipeline = ps.Pipeline("people")
made = pipeline.source(ps.Generator(User, rows=6000, rate=300), User, land="raw")
made.sink("direct", store="one", mode="append")
made.topic("users", partitions=2).sink("users", store="two")
"""


@pytest.fixture
def broker(own_servers: Servers) -> Server:
    return own_servers.start("kafka")


@pytest.fixture
def project(tmp_path: Path, database: str, broker: Server) -> Project:
    made = Project(tmp_path, database, log=broker.url)
    made.write(PROGRAM)
    return made


def count(project: Project, table: str) -> int:
    if project.rows(f"SELECT to_regclass('{table}') IS NULL") == [(True,)]:
        return 0
    return int(project.rows(f"SELECT count(*) FROM {table}")[0][0])


def until(process: Popen[bytes], seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def ended(process: Popen[bytes]) -> str:
    words = b"".join(process.communicate(timeout=240)).decode()
    assert process.returncode == 0, words
    assert "Traceback" not in words
    return words


def test_a_broker_that_is_killed_stops_no_other_lane(project: Project, broker: Server) -> None:
    process = project.start("run", "program.py", "--until-idle")
    until(process, lambda: count(project, "two.users") > 100)
    broker.kill()
    until(process, lambda: count(project, "one.direct") == 6000)
    assert count(project, "two.users") < 6000
    broker.up()
    assert "lane users@log is waiting" in ended(process)
    project.balance()
    assert count(project, "two.users") == 6000


def test_a_broker_that_is_away_at_the_start_is_waited_for(project: Project, broker: Server) -> None:
    broker.down()
    process = project.start("run", "program.py", "--until-idle")
    until(process, lambda: count(project, "one.direct") > 100)
    broker.up()
    ended(process)
    project.balance()
    assert count(project, "two.users") == 6000


def test_a_broker_that_is_killed_again_and_again(project: Project, broker: Server) -> None:
    process = project.start("run", "program.py", "--until-idle")
    for rows in (500, 1500, 2500):
        until(process, lambda: count(project, "two.users") > rows)  # noqa: B023 - called at once
        broker.kill()
        broker.up()
    ended(process)
    project.balance()
    assert count(project, "two.users") == 6000
