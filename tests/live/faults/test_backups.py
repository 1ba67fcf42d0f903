"""Home restored from an older backup, while the stores are ahead of it."""

from __future__ import annotations

import json

from tests.conftest import Server
from tests.live.project import Project

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()

pipeline = ps.Pipeline("people")
users = pipeline.source(ps.Files("in/*.ndjson"), User, land="raw").topic("users", partitions=2)
users.sink("users", store="one")
users.sink("all_users", store="two", mode="append")
"""


def lines(first: int, last: int) -> str:
    return "".join(json.dumps({"id": str(i)}) + "\n" for i in range(first, last)) + "bad\n"


def test_a_home_from_a_backup_is_refused_and_nothing_lost(
    project: Project, postgres: Server
) -> None:
    """With the landing and the topic: their lanes are ahead of what they hold."""
    store, backup, home = postgres.create(), postgres.create(), project.url
    project.stores = {n: f"{postgres.url(store)}&schema={n}" for n in ("one", "two")}
    project.settle()
    project.write(PROGRAM)
    (project.path / "in").mkdir()
    (project.path / "in" / "a.ndjson").write_text(lines(0, 100))
    project.run()
    name = home.split("/")[3].split("?")[0]
    copy = f'CREATE DATABASE "{backup}" TEMPLATE "{name}"'
    project.rows(f'DROP DATABASE "{backup}"', url=postgres.url())
    project.rows(copy, url=postgres.url())
    (project.path / "in" / "b.ndjson").write_text(lines(100, 300))
    project.run()

    project.url = postgres.url(backup)
    project.settle()
    for _ in range(2):
        said = project.run(code=1)
        assert "the log was restored from a backup" in said
        assert "--accept-log" in said
    project.url = home
    project.settle()
    project.run()
    project.balance()
    counted = "SELECT (SELECT count(*) FROM one.users), (SELECT count(*) FROM two.all_users)"
    assert project.rows(counted, url=postgres.url(store)) == [(300, 300)]
    for database in (store, backup):
        postgres.drop(database)
