"""A message that a broker does not take: dead for its lane alone, until the broker takes it."""

from __future__ import annotations

import json

import pytest
from tests.live.conftest import SYSTEMS
from tests.live.project import Project
from tests.stack import clients

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    note: str

pipeline = ps.Pipeline("people")
users = pipeline.source(ps.Files("in/*.ndjson"), User, land="raw").topic("users", partitions=2)
users.sink("users", store="one")
"""

pytestmark = pytest.mark.parametrize("project", [SYSTEMS[1]], indirect=True)


def give(project: Project, name: str, *users: tuple[str, str]) -> None:
    folder = project.path / "in"
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"id": id_, "note": note}) + "\n" for id_, note in users]
    (folder / name).write_text("".join(lines))


def ids(project: Project) -> list[str]:
    return [id_ for (id_,) in project.rows("SELECT id FROM one.users ORDER BY id")]


def test_a_message_that_is_too_large_is_dead_until_the_limit_is_raised(project: Project) -> None:
    project.write(PROGRAM)
    give(project, "a.ndjson", ("a", "small"), ("huge", "x" * 1_500_000), ("z", "small"))
    project.run()
    project.balance()
    assert ids(project) == ["a", "z"]
    [letter] = project.letters()
    assert letter["lane"] == f"{project.prefix}users@log"
    assert letter["stage"] == "store"

    clients.configure(project.log, project.prefix + "users", {"max.message.bytes": "3000000"})
    assert project.json("deadletters", "replay")["replayed"] == 1
    project.run()
    project.balance()
    assert ids(project) == ["a", "huge", "z"]
