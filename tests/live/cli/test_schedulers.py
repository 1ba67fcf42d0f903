"""What a scheduler gives: polls that end in time, and runs that leave the polling to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.live.project import Project
from tests.stack.servers import free_ports

PROGRAM = """
import penstock as ps
from penstock.interfaces import Framing, Response

class Slow:
    every = None
    framing = Framing(lines=True)

    def describe(self):
        return "a slow source"

    def check(self):
        pass

    def poll(self, cursor, clock):
        if cursor is None:
            yield Response(b'{"id": 1}', 1)
        clock.wait(600)

class Order(ps.Contract):
    id: int = ps.key()

pipeline = ps.Pipeline("shop")
pipeline.source(SOURCE, Order, land="raw").sink("orders", store="one")
"""
UP = "time is up, and not all is done: "


@pytest.fixture
def shop(project: Project) -> Project:
    project.write(PROGRAM.replace("SOURCE", 'ps.Files("in/*.ndjson")'))
    inbox = project.path / "in"
    inbox.mkdir()
    (inbox / "a.ndjson").write_text('{"id": 1}\n{"id": 2}\n')
    return project


def landed(project: Project) -> list[tuple[int]]:
    return project.rows("SELECT count(*) FROM landing.raw")


def test_a_poll_of_what_is_away_gives_up_with_the_reason(project: Project) -> None:
    port = free_ports(1)[0]
    project.write(PROGRAM.replace("SOURCE", f'ps.Http("http://127.0.0.1:{port}/orders")'))
    for words in (["--once"], ["--run-id", "a"]):
        found = project.json("ingest", "program.py", *words, "--for", "2s", code=3)
        assert found["error"]["message"].startswith(UP)
        assert f"127.0.0.1:{port}" in found["error"]["message"]
    assert landed(project) == [(0,)]


def test_a_poll_that_is_still_at_work_is_not_taken_for_done(project: Project) -> None:
    project.write(PROGRAM.replace("SOURCE", "Slow()"))
    found = project.json("ingest", "program.py", "--run-id", "a", "--for", "3s", code=3)
    assert found["error"]["message"].startswith(UP + "the source of raw is ")
    project.write(PROGRAM.replace("SOURCE", "Slow()").replace("wait(600)", "wait(0)"))
    project.json("ingest", "program.py", "--run-id", "a", "--for", "80s")
    assert landed(project) == [(1,)]


def test_without_the_need_to_end_the_time_is_just_the_end(shop: Project) -> None:
    every = (shop.path / "program.py").read_text().replace('son")', 'son", every=0.1)')
    shop.write(every)
    shop.json("ingest", "program.py", "--for", "3s")
    assert landed(shop) == [(1,)]


def test_a_run_without_sources_moves_what_others_land(shop: Project) -> None:
    shop.run("--no-sources")
    assert landed(shop) == [(0,)]
    shop.json("ingest", "program.py", "--once", "--for", "80s")
    assert landed(shop) == [(1,)]
    Path(shop.path / "in" / "b.ndjson").write_text('{"id": 3}\n')
    shop.run("--no-sources", "--for", "80s")
    assert landed(shop) == [(1,)]
    assert shop.rows("SELECT id FROM one.orders ORDER BY id") == [(1,), (2,)]
    shop.balance()
