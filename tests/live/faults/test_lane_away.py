"""A store that is away under a running pipeline: its lane waits, catches up, and loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
source = ps.Generator(User, rows={rows}, rate=500)
users = pipeline.source(source, User, land="raw").topic("users", partitions=2)
users.sink("users", store="one")
users.sink("users", store="two")
"""
ACTS: dict[str, tuple[Callable[[Server], None], Callable[[Server], None]]] = {
    "killed": (Server.kill, Server.up),
    "stopped": (Server.stop, Server.resume),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Servers(tmp_path_factory.mktemp("stack")) as servers:
        yield servers.start("cassandra")


@pytest.fixture
def project(
    tmp_path: Path, database: str, server: Server, kafka: str, registry: str, topic_name: str
) -> Project:
    made = Project(tmp_path, database, log=kafka, registry=registry, prefix=topic_name)
    made.stores["one"] = f"{server.url}/{topic_name}?replication=1"
    made.settle()
    return made


def written(project: Project) -> int:
    if project.rows("SELECT to_regclass('two.users') IS NULL") == [(True,)]:
        return 0
    return int(project.rows("SELECT count(*) FROM two.users")[0][0])


def until(process: Popen[bytes], rows: int, project: Project) -> None:
    deadline = time.monotonic() + 240
    while written(project) < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"PostgreSQL has {written(project)} rows"
        time.sleep(0.1)


def caught_up(project: Project, server: Server, act: str, rows: int, seconds: float) -> None:
    """Take the server away for a while in the middle of a run."""
    down, up = ACTS[act]
    project.write(PROGRAM.format(rows=rows))
    process = project.start("run", "program.py", "--until-idle")
    try:
        until(process, rows // 10, project)
        down(server)
        began = time.monotonic()
        until(process, rows, project)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        up(server)
        words = b"".join(process.communicate(timeout=240)).decode()
    finally:
        server.resume()
        process.kill()
    assert process.returncode == 0, words
    assert "Traceback" not in words
    assert "lane users@one is waiting" in words
    project.balance()
    assert len(project.table("one", "users", "id")) == rows


@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", ACTS)
def test_a_lane_is_away_for_a_while(project: Project, server: Server, act: str) -> None:
    caught_up(project, server, act, rows=4000, seconds=10)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("act", ACTS)
def test_a_lane_is_away_for_a_minute(project: Project, server: Server, act: str) -> None:
    caught_up(project, server, act, rows=40_000, seconds=60)
