"""Two sources merged into one topic that another pipeline reads, all of them killed for real."""

from __future__ import annotations

import signal

import pytest
from tests.live.project import Project

WRITER = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    n: int

pipeline = ps.Pipeline("people")
web, app = (
    pipeline.source(ps.Generator(User, rows=1500, rate=400, seed=seed), User, land=land)
    for seed, land in enumerate(("raw_web", "raw_app"))
)
web.merge(app).topic("users", partitions=2).sink("users", store="one")
"""

READER = """
import penstock as ps

class Named(ps.Contract):
    id: str = ps.key()

pipeline = ps.Pipeline("reader")
pipeline.topic("users", Named).sink("names", store="two", mode="append")
"""

POINTS = ("committed:KILL:2", "staged:KILL:3", "batch-opened:KILL:2")


@pytest.mark.parametrize("project", ["postgresql, postgresql", "kafka, postgresql"], indirect=True)
def test_kills_of_writers_and_reader_double_nothing_and_lose_nothing(project: Project) -> None:
    project.write(WRITER)
    project.write(READER, "reader.py")
    running = []
    for point in POINTS:
        project.environment["PENSTOCK_FAULT"] = point
        running.append(project.start("run", "program.py", "--until-idle"))
        for process in running:
            process.communicate(timeout=180)
            assert process.returncode == -signal.SIGKILL
        running = [project.start("run", "reader.py")]
    del project.environment["PENSTOCK_FAULT"]
    project.run()
    running[0].communicate(timeout=180)
    assert running[0].returncode == -signal.SIGKILL
    project.run(program="reader.py")
    project.balance()
    project.balance("reader.py")
    [(count, ids)] = project.rows("SELECT count(*), count(DISTINCT id) FROM two.names")
    assert (count, ids) == (3000, project.rows("SELECT count(*) FROM one.users")[0][0])
