"""Answers of an API that are no answers: each is one dead letter, its neighbours are rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.live.project import Project

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    note: ps.Text | None

pipeline = ps.Pipeline("people")
pages = ps.Pages(most={most})
source = ps.Http(ps.env("API"), records="data.items", pages=pages)
pipeline.source(source, User, land="raw").topic("users").sink("users", store="one")
"""


def page(*items: object) -> bytes:
    return json.dumps({"data": {"items": items}}).encode()


HUGE = page({"id": "huge", "note": "x" * (100 << 20)})
MIXED = page({"id": "a"}, {"id": 7}, [], {"id": "b", "note": {}}, {"id": "c", "note": "1.50"})
ANSWERS = [
    page({"id": "first"}),
    b"<html>Bad gateway</html>",
    MIXED,
    b'{"data": {"items": "none"}}',
    HUGE,
    page({"id": "half"})[:-4],
    page({"id": "last"}),
]
ASKED = 3
"""Times that a page which is no list of records is asked for, and landed."""


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        number = int(self.path.partition("page=")[2]) - 1
        body = ANSWERS[number] if number < len(ANSWERS) else page()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/?token=s3cr3t-word"
        server.shutdown()


def test_answers_of_an_api(project: Project) -> None:
    project.write(PROGRAM.format(most=len(ANSWERS)))
    with serving() as url:
        project.environment = {"API": url}
        said = project.run()
    assert "s3cr3t" not in said
    project.balance()
    causes = project.json("deadletters", "list")["causes"]
    assert {(cause["rule"], cause["states"]["dead"]) for cause in causes} == {
        ("not JSON", 2 * ASKED),
        ("expected a list of records", ASKED),
        ("expected a str, got an int", 1),
        ("expected an object, got a list", 1),
        ("expected a str or a number, got an object", 1),
        ("larger than 16 MiB", 1),
    }
    rows = project.rows("SELECT id, length(note) FROM one.users ORDER BY id")
    assert rows == [("a", None), ("c", 4), ("first", None), ("last", None)]
