"""`penstock ingest --from --to`, killed on its way and beside a running pipeline."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.live.project import Project

PROGRAM = """
import penstock as ps

class Event(ps.Contract):
    id: int = ps.key()
    at: int

pipeline = ps.Pipeline("events")
source = ps.Http(
    "{url}", records="items", every="200ms", pages=ps.Cursors("next"),
    since=ps.Since("at", param="since", start="100000", until="until", window=100),
)
events = pipeline.source(source, Event, land="raw_events").topic("events")
events.sink("events", store="one")
"""


class Events:
    """An API of one event for each number, ten on a page, that is slow and remembers."""

    def __init__(self) -> None:
        events = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = dict(parse_qsl(urlsplit(self.path).query))
                body = json.dumps(events.page(query)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.asked: list[dict[str, str]] = []
        self.pause = 0.0
        self.live = [100_000]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"

    def page(self, query: dict[str, str]) -> dict[str, object]:
        self.asked.append(query)
        time.sleep(self.pause if "until" in query else 0)
        low = int(query["since"])
        numbers = range(low, int(query["until"])) if "until" in query else self.live
        start = int(query.get("cursor", 0))
        found = [n for n in numbers if n >= low]
        more = start + 10 < len(found)
        items = [{"id": n, "at": n} for n in found[start : start + 10]]
        return {"items": items, "next": str(start + 10) if more else None}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def events() -> Iterator[Events]:
    events = Events()
    yield events
    events.close()


def landed(project: Project) -> list[int]:
    if project.rows("SELECT to_regclass('landing.raw_events') IS NULL") == [(True,)]:
        return []
    bodies = project.rows('SELECT value FROM landing.raw_events ORDER BY "offset"')
    return [item["id"] for (body,) in bodies for item in json.loads(body)["items"]]


def cursor(project: Project) -> str:
    [(found,)] = project.rows("SELECT cursor FROM penstock.landing_cursors WHERE run = ''")
    return str(found)


def test_a_range_that_is_killed_goes_on_and_is_done_once(project: Project, events: Events) -> None:
    project.write(PROGRAM.format(url=events.url))
    project.penstock("ingest", "program.py", "--once")
    before = cursor(project)
    words = ("ingest", "program.py", "--from", "1000", "--to", "1950")
    events.pause = 0.02
    for enough in (100, 300, 600):
        victim = project.start(*words)
        try:
            while len(landed(project)) < enough:
                assert victim.poll() is None, victim.communicate()
                time.sleep(0.01)
        finally:
            victim.kill()
            victim.communicate()
    events.pause = 0
    project.penstock(*words)
    assert landed(project) == [100_000, *range(1000, 1950)]
    assert cursor(project) == before, "where the source stands is left alone"
    asked = len(events.asked)
    project.penstock(*words)
    assert len(events.asked) == asked, "a range that is finished is not asked for again"
    project.run()
    assert len(project.table("one", "events", "id")) == 951
    project.balance()


def test_a_range_is_filled_in_beside_a_running_pipeline(project: Project, events: Events) -> None:
    project.write(PROGRAM.format(url=events.url))
    running = project.start("run", "program.py")
    try:
        while not landed(project):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        project.penstock("ingest", "program.py", "--from", "0", "--to", "500")
        events.live.append(100_001)
        while 100_001 not in landed(project):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
    finally:
        running.terminate()
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, (out + err).decode()
    filled = [n for n in landed(project) if n < 100_000]
    assert filled == list(range(500))
    project.run()
    ids = {n for (n,) in project.table("one", "events", "id")}
    assert ids == {*range(500), 100_000, 100_001}
    project.balance()


def test_wrong_ranges_are_refused_with_the_reason(project: Project, events: Events) -> None:
    project.write(PROGRAM.format(url=events.url))
    said = project.penstock("ingest", "program.py", "--from", "5", code=2)
    assert b"--to" in said.stderr
    said = project.penstock("ingest", "program.py", "--from", "5", "--to", "4", code=1)
    assert b"holds nothing" in said.stderr
    project.write(
        PROGRAM.format(url=events.url).replace(
            "ps.Http(", "ps.Generator(Event, rows=1) or ps.Http("
        )
    )
    said = project.penstock("ingest", "program.py", "--from", "5", "--to", "9", code=1)
    assert b"no source of this program can be asked for a range" in said.stderr
