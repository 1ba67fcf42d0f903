"""Two pipelines cannot write one table: the second is told who writes it, and what to do."""

from __future__ import annotations

import re

import pytest
from tests.live.project import Project
from tests.stack import clients

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: int = ps.key()
    n: int

pipeline = ps.Pipeline("{name}")
source = ps.Generator(User, rows=20)
users = pipeline.source(source, User, land="raw_{name}").topic("topic_{name}")
users.sink("users", store="one"{mode})
"""


def write(project: Project, mode: str = "") -> None:
    for name in ("first", "second"):
        project.write(PROGRAM.format(name=name, mode=mode), f"{name}.py")


def cure(project: Project, said: str) -> None:
    """Do what the refusal says."""
    found = re.search(r"DELETE FROM .*?'users'\)?", said)
    assert found
    if project.stores["one"].startswith("cassandra:"):
        with clients.cql(project.stores["one"]) as session:
            session.execute(found[0])
    else:
        project.rows(found[0])


@pytest.mark.parametrize(
    "project", ["postgresql, postgresql", "postgresql, cassandra"], indirect=True
)
def test_the_second_is_refused_until_it_may(project: Project) -> None:
    write(project)
    project.run(program="first.py")
    project.run(program="first.py")  # its own table it may write
    words = "is written by lane 'users@one' of pipeline 'first'"
    found = project.json("check", "second.py", code=1)["findings"]
    [refused] = [f["message"] for f in found if f["state"] == "refused"]
    assert words in refused
    said = project.run(code=1, program="second.py")
    assert words in " ".join(said.split())
    assert project.table("one", "users", "count(*)") == [(20,)]
    cure(project, refused)
    project.penstock("check", "second.py")
    project.run(program="second.py")
    assert project.json("check", "first.py", code=1)


def test_rows_are_appended_by_one_pipeline_too(project: Project) -> None:
    write(project, ', mode="append"')
    project.run(program="first.py")
    found = project.json("check", "second.py", code=1)["findings"]
    assert any("of pipeline 'first'" in f["message"] for f in found)


def test_a_table_that_was_dropped_is_free(project: Project) -> None:
    write(project)
    project.run(program="first.py")
    project.rows("DROP TABLE one.users")
    project.run(program="second.py")
    assert project.table("one", "users", "count(*)") == [(20,)]
