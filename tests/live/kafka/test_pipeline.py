"""A pipeline on Kafka from end to end: what topics may do that tables do not."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from subprocess import Popen

import pytest
from tests.live.kafka.producing import Owner
from tests.live.project import Project

from penstock.logs.kafka import open_topic

EXTERNAL = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int | None

pipeline = ps.Pipeline("people")
users = pipeline.topic("given", User, key="id")
users.sink("users", store="one")
users.sink("all_users", store="two", mode="append")
"""

OWN = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int
    note: str | None

pipeline = ps.Pipeline("people")
source = ps.Generator(User, rows=3000, rate=1000)
users = pipeline.source(source, User, land="raw").topic("users", partitions=3)
users.sink("users", store="one")
users.sink("all_users", store="two", mode="append")
"""

pytestmark = pytest.mark.parametrize("project", ["kafka, postgresql"], indirect=True)


@pytest.fixture
def given(project: Project) -> Owner:
    """A topic that others write."""
    owner = Owner(project.log, project.prefix + "given")
    owner.make()
    return owner


@pytest.fixture
def users(project: Project) -> Owner:
    """The pipeline's own topic."""
    return Owner(project.log, project.prefix + "users")


def user(number: int, n: int | None = 1) -> bytes:
    return json.dumps({"id": f"u{number}", "n": n}).encode()


def until(process: Popen[bytes], seen: Callable[[], bool]) -> None:
    """Wait for something that a running command does."""
    deadline = time.monotonic() + 90
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def end(process: Popen[bytes]) -> str:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    words = (out + err).decode()
    assert "Traceback" not in words
    return words


def count(project: Project, table: str) -> int:
    if project.rows(f"SELECT to_regclass('{table}') IS NULL") == [(True,)]:
        return 0
    return int(project.rows(f"SELECT count(*) FROM {table}")[0][0])


def test_absent_offsets_and_tombstones_balance(project: Project, given: Owner) -> None:
    given.produce([user(1), user(2)], key=b"u1")
    given.transact([user(3)], commit=False)
    given.transact([user(4)], commit=True)
    given.produce([None], key=b"u4")
    given.produce([b"no json"], key=b"u5")
    given.transact([user(6)], commit=False)
    project.write(EXTERNAL)
    project.run()
    project.balance()
    counts = project.counts("users@one")
    assert counts["records"] == 5
    assert counts["absent"] == 5  # two aborted records, three markers
    assert (counts["deleted"], counts["dead"]) == (1, 1)
    assert project.rows("SELECT id FROM one.users ORDER BY 1") == [("u1",), ("u2",)]


def test_partitions_added_are_taken_up_without_a_restart(project: Project, given: Owner) -> None:
    given.produce([user(1)], key=b"u1")
    project.write(EXTERNAL)
    process = project.start("run", "program.py")
    until(process, lambda: count(project, "one.users") == 1)
    given.grow(3)
    given.produce([user(1, 2)], 2, key=b"u1")
    given.produce([user(3)], 1, key=b"u3")
    until(process, lambda: count(project, "two.all_users") == 3)
    end(process)
    project.balance()
    # the partition that was added later counts as later
    assert project.rows("SELECT n FROM one.users WHERE id = 'u1'") == [(2,)]


def test_a_topic_made_anew_is_said_and_taken_when_accepted(project: Project, given: Owner) -> None:
    given.produce([user(1), user(2)], key=b"u")
    project.write(EXTERNAL)
    project.run()
    given.delete()
    given.make()
    given.produce([user(2, 7), user(3)], key=b"u")
    assert "is not the one that pipeline" in project.run(code=1)
    assert count(project, "one.users") == 2
    project.run("--accept-log")
    project.balance()
    assert project.rows("SELECT id, n FROM one.users ORDER BY 1") == [
        ("u1", 1),
        ("u2", 7),
        ("u3", 1),
    ]


def test_retention_that_passed_the_progress_is_said(project: Project, given: Owner) -> None:
    given.produce([user(n) for n in range(10)], key=b"u")
    project.write(EXTERNAL)
    project.run()
    given.produce([user(n) for n in range(10, 20)], key=b"u")
    project.penstock("check", "program.py")
    given.trim(0, 15)
    checked = project.penstock("check", "program.py", code=1).stdout.decode()
    assert "retention or a person removed the records" in " ".join(checked.split())
    assert "retention or a person removed the records" in project.run(code=1)
    assert count(project, "two.all_users") == 10


def test_a_new_lane_begins_where_retention_left_off(project: Project, given: Owner) -> None:
    given.produce([user(n) for n in range(10)], key=b"u")
    given.trim(0, 4)
    project.write(EXTERNAL)
    project.run()
    project.balance()
    assert count(project, "two.all_users") == 6
    assert project.counts("users@one")["absent"] == 4


def test_kills_double_nothing_and_lose_nothing(project: Project, users: Owner) -> None:
    project.write(OWN)
    for point in ("copying:KILL:3", "committed:KILL:2", "staged:KILL:4", "between-sinks:KILL:2"):
        project.environment["PENSTOCK_FAULT"] = point
        process = project.start("run", "program.py")
        process.communicate(timeout=90)
        assert process.returncode == -signal.SIGKILL
    del project.environment["PENSTOCK_FAULT"]
    project.run()
    project.balance()
    assert count(project, "two.all_users") == count(project, "one.users") == 3000
    assert project.counts("users@one")["records"] == 3000
    seen = [json.loads(value or b"null")["id"] for value in users.values()]
    assert len(seen) == len(set(seen)) == 3000


def test_kafkas_own_tools_see_no_lag(project: Project, users: Owner) -> None:
    project.write(OWN)
    project.run()
    log = open_topic(project.log, users.name)
    ends = {partition: span.end for partition, span in log.spans().items()}
    log.close()
    for lane in ("users@one", "all_users@two"):
        assert users.committed(f"penstock.{project.prefix}people.{lane}") == ends


def test_an_own_topic_that_was_deleted_is_said(project: Project, users: Owner) -> None:
    project.write(OWN)
    project.run()
    users.delete()
    assert "is not the one that pipeline" in project.run(code=1)
    project.run("--accept-log")
    project.balance()
    assert count(project, "two.all_users") == 3000


def test_lost_progress_is_refused_before_rows_are_doubled(project: Project, users: Owner) -> None:
    project.write(OWN)
    project.run()
    Owner(project.log, f"penstock.{project.prefix}people.progress").delete()
    assert "knows nothing of it any more" in project.run(code=1)
    assert count(project, "two.all_users") == 3000


def test_check_says_what_a_start_would_make(project: Project) -> None:
    project.write(OWN)
    before = project.json("check", "program.py")
    said = [finding["message"] for finding in before["findings"]]
    assert f"create topic '{project.prefix}users' with 3 partitions" in said
    assert f"create topic 'penstock.{project.prefix}people.progress' with 1 partition" in said
    assert not [words for words in said if "as it should be" in words]
    project.run()
    after = project.json("check", "program.py")["findings"]
    assert {f"topic {project.prefix}users", "landing raw"} <= {f["system"] for f in after}
    assert not [f for f in after if f["state"] != "good"]


def test_check_refuses_a_topic_that_others_should_have_made(project: Project) -> None:
    project.write(EXTERNAL)
    findings = project.json("check", "program.py", code=1)["findings"]
    refused = [finding["message"] for finding in findings if finding["state"] == "refused"]
    assert any("there is no topic" in words for words in refused)
