"""Processes and sessions that are stopped, killed and cut off while records flow."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from tests.live.conftest import SYSTEMS
from tests.live.project import Project

from penstock import faults

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int

pipeline = ps.Pipeline("people")
source = ps.Generator(User, rows={rows}, rate={rate})
users = pipeline.source(source, User, land="raw").topic("users", partitions=3)
users.sink("users", store="one")
users.sink("all_users", store="two", mode="append")
"""
CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'penstock:%' AND datname = current_database()
ORDER BY random() LIMIT 4
"""


def flowing(project: Project) -> bool:
    made = project.rows("SELECT to_regclass('two.all_users') IS NOT NULL") == [(True,)]
    return made and project.rows("SELECT 1 FROM two.all_users LIMIT 1") == [(1,)]


def counted(project: Project) -> tuple[int, int]:
    return len(project.table("one", "users", "id")), len(project.table("two", "all_users", "id"))


@pytest.mark.parametrize("project", SYSTEMS, indirect=True)
def test_a_stopped_process_wakes_up_after_its_successor(project: Project) -> None:
    project.write(PROGRAM.format(rows=4000, rate=1000))
    first = project.start("run", "program.py", "--until-idle")
    while not flowing(project):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    try:
        project.run("--take-over")
    finally:
        first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err.decode()
    assert b"Traceback" not in out + err
    project.balance()
    assert counted(project) == (4000, 4000)


@pytest.mark.parametrize("point", ["copying", "between-sinks"])
def test_a_process_stopped_at_a_point_holds_up_nobody(project: Project, point: str) -> None:
    """Inside the transactions of both stores, or of one."""
    assert point in faults.POINTS
    project.write(PROGRAM.format(rows=2000, rate=1000))
    project.environment["PENSTOCK_FAULT"] = f"{point}:STOP:2"
    first = project.start("run", "program.py", "--until-idle")
    del project.environment["PENSTOCK_FAULT"]
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    project.run("--take-over")
    project.balance()
    assert counted(project) == (2000, 2000)


@pytest.mark.parametrize("project", [SYSTEMS[0], SYSTEMS[-1]], indirect=True)
def test_sessions_are_cut_off_and_processes_killed_at_random(project: Project) -> None:
    project.write(PROGRAM.format(rows=60_000, rate="None"))
    chance = random.Random(3)
    for _ in range(3):
        process = project.start("run", "program.py", "--until-idle")
        time.sleep(1 + chance.random())
        project.rows(CUT_OFF)
        time.sleep(chance.random() / 2)
        project.rows(CUT_OFF)
        time.sleep(chance.random() / 2)
        process.kill()
        process.communicate()
    project.run()
    project.balance()
    assert counted(project) == (60_000, 60_000)
