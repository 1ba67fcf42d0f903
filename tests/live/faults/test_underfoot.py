"""A table that somebody changes while the pipeline writes it: a clear stop, and nothing lost."""

from __future__ import annotations

import time

import pytest
from tests.live.project import Project

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int
    note: str | None

pipeline = ps.Pipeline("people")
source = ps.Generator(User, rows=1500, rate=750)
users = pipeline.source(source, User, land="raw").topic("users", partitions=2)
users.sink("users", store="one")
users.sink("all_users", store="one", mode="append")
users.sink("users", store="two")
"""

ACTS = {
    "table dropped": (
        "DROP TABLE one.users",
        "was dropped",
        "DELETE FROM penstock.progress WHERE lane = 'users@one'",
    ),
    "a foreign NOT NULL": (
        "ALTER TABLE one.users ADD must text; UPDATE one.users SET must = '';"
        "ALTER TABLE one.users ALTER must SET NOT NULL",
        "column 'must' is NOT NULL without a default",
        "ALTER TABLE one.users ALTER must DROP NOT NULL",
    ),
    "progress lost": (
        "DELETE FROM penstock.progress WHERE lane = 'all_users@one'",
        "knows nothing of it any more",
        "TRUNCATE one.all_users",
    ),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_table_changes_underfoot(project: Project, act: str) -> None:
    wrong, said, right = ACTS[act]
    project.write(PROGRAM)
    process = project.start("run", "program.py", "--until-idle")
    started = "SELECT to_regclass('one.users') IS NOT NULL AND to_regclass('two.users') IS NOT NULL"
    while (
        project.rows(started) != [(True,)] or project.rows("SELECT 1 FROM one.users LIMIT 1") == []
    ):
        assert process.poll() is None
        time.sleep(0.02)
    project.rows(wrong)
    _, heard = process.communicate(timeout=60)
    words = heard.decode()
    if said not in words:  # a lane that is fenced stands by; the next start says it
        words = project.run(code=1)
    assert said in words
    assert "Traceback" not in words
    project.rows(right)
    project.run()
    project.balance()
    assert project.rows("SELECT count(*) FROM one.all_users") == [(1500,)]
    assert project.rows("SELECT count(*) FROM one.users") == [(1500,)]
