"""Wrong profiles and systems that are away: clear words, the other lanes go on, never a secret."""

from __future__ import annotations

import pytest
from tests.live.project import Project

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()

pipeline = ps.Pipeline("people")
users = pipeline.source(ps.Files("users.ndjson"), User, land="raw").topic("users")
users.sink("users", store="one")
users.sink("users", store="two")
"""
STORES = """
[profiles.test.stores]
one = "embedded:?schema=one"
two = "embedded:?schema=two"
"""
SECRET = "s3cr3t-word"
HERE = f"postgresql://me:{SECRET}@"
MISTAKES = {
    "home = 'embedded:'\nlog = 'pulsar://a'": (2, "log is 'pulsar'"),
    "home = 'embedded:'\nlog = 'embedded:'\nengine = 'flink://a'": (2, "no engine 'flink://a'"),
    "home = 'embedded:'\nlog = 'embedded:'\nengine = 'spark://a'": (2, 'log = "kafka://'),
    f"home = '{HERE}localhost:99999/d'\nlog = 'embedded:'": (1, "invalid port number"),
    f"home = '{HERE}[::1/d'\nlog = 'embedded:'": (2, "Invalid IPv6"),
    f"home = '{HERE}localhost:1/d'\nlog = 'embedded:'": (3, "cannot be reached"),
    f"home = '{HERE}${{NO_SUCH}}/d'\nlog = 'embedded:'": (2, "NO_SUCH, which is not set"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_profile_is_told(project: Project, mistake: str) -> None:
    code, words = MISTAKES[mistake]
    project.write(PROGRAM)
    (project.path / "users.ndjson").touch()
    (project.path / "penstock.toml").write_text(f"[profiles.test]\n{mistake}\n{STORES}")
    said = project.run(code=code)
    assert words in said
    assert SECRET not in said


def everything(project: Project) -> str:
    """All that the database holds, as text."""
    tables = project.rows(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    return "\n".join(str(project.rows(f"SELECT t::text FROM {table} t")) for (table,) in tables)


def test_a_store_that_is_away_stops_its_lane_alone(project: Project) -> None:
    project.write(PROGRAM)
    (project.path / "users.ndjson").write_text('{"id": "a"}\n{"id": "b"}\nx\n')
    right = project.stores["two"]
    project.stores["two"] = f"{HERE}localhost:1/d"
    project.settle()
    checked = project.penstock("check", "program.py", code=3)
    said = project.penstock("run", "program.py", "--for", "3s")
    known = project.penstock("status")
    proof = project.penstock("reconcile", "program.py", "--deep", code=3)
    assert b"cannot be reached" in said.stderr
    for ran in (checked, said, known, proof):
        assert SECRET.encode() not in ran.stdout + ran.stderr
    assert SECRET not in everything(project)
    assert project.rows("SELECT id FROM one.users ORDER BY 1") == [("a",), ("b",)]

    project.stores["two"] = right
    project.settle()
    project.run()
    project.balance()
    assert project.rows("SELECT id FROM two.users ORDER BY 1") == [("a",), ("b",)]
