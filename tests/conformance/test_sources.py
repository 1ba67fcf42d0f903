"""The sources here keep what a source promises; each check fails for one that does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.interfaces import Clock, Cursor, Framing, Response, Source
from penstock.sources.chains import Cursors, Links
from penstock.sources.files import Files
from penstock.sources.generator import Generator
from penstock.sources.http import Http
from penstock.sources.pagination import Pages, Pagination
from penstock.testing.conformance import (
    RemoteSourceConformance,
    SourceConformance,
    SourceSystem,
)
from penstock.testing.conformance.subjects import Person


class MadeUp(SourceSystem):
    def source(self) -> Source:
        return Generator(Person, rows=10, batch=3, seed=5)

    def bodies(self) -> Sequence[bytes]:
        return [r.body for r in Generator(Person, rows=10, batch=3, seed=5).poll(None, None)]  # type: ignore[arg-type]


class Folder(SourceSystem):
    def __init__(self, path: Path) -> None:
        self._path = path / "inbox"
        self._path.mkdir()
        for number, body in enumerate(self.bodies()):
            (self._path / f"{number}.ndjson").write_bytes(body)

    def source(self) -> Source:
        return Files(self._path)

    def bodies(self) -> Sequence[bytes]:
        return [b'{"id":1}\n{"id":2}\n', b"\xff not json\n", b'{"id":3}\n']

    def leave(self) -> None:
        self._path.rename(self._path.with_name("elsewhere"))


class Tables(Folder):
    def source(self) -> Source:
        return Files(self._path, format="csv")

    def bodies(self) -> Sequence[bytes]:
        return [b"id\n1\n2\n", b'id,x\n\xff,"\n', b"id\r\n3\r\n"]


class Packed(Folder):
    """Files that are written whole, by a URL."""

    def source(self) -> Source:
        return Files(f"file://{self._path}/*.ndjson")


class Columns(Folder):
    """Parquet."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for number, name in enumerate(sorted(self._path.iterdir())):
            pq.write_table(pa.table({"id": [number]}), name)

    def source(self) -> Source:
        return Files(self._path / "*", format="parquet")

    def bodies(self) -> Sequence[bytes]:
        return [b'{"id":0}\n', b'{"id":1}\n', b'{"id":2}\n']


class Api(SourceSystem):
    def __init__(self, pages: Pagination) -> None:
        self._pages = pages
        bodies = self.bodies()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                [page] = parse_qs(urlsplit(self.path).query).get("page", ["1"])
                body = bodies[int(page) - 1] if int(page) <= len(bodies) else b'{"results": []}'
                self.send_response(200)
                if int(page) < len(bodies):
                    self.send_header("X-Next", str(int(page) + 1))
                    self.send_header("Link", f'<?page={int(page) + 1}>; rel="next"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def source(self) -> Source:
        url = f"http://127.0.0.1:{self._server.server_port}/people"
        return Http(url, records="results", pages=self._pages)

    def bodies(self) -> Sequence[bytes]:
        return [b'{"results": [{"id": %d}]}' % number for number in range(3)]

    def leave(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class TestGenerator(SourceConformance):
    @pytest.fixture
    def system(self) -> SourceSystem:
        return MadeUp()


class TestFiles(SourceConformance, RemoteSourceConformance):
    @pytest.fixture(params=[Folder, Tables, Packed, Columns])
    def system(self, tmp_path: Path, request: pytest.FixtureRequest) -> SourceSystem:
        made: SourceSystem = request.param(tmp_path)
        return made


class TestHttp(SourceConformance, RemoteSourceConformance):
    @pytest.fixture(params=[Pages(most=3), Cursors(header="X-Next", param="page"), Links()])
    def system(self, request: pytest.FixtureRequest) -> Iterator[SourceSystem]:
        made = Api(request.param)
        yield made
        made.leave()


# --- one broken source for each check ---


class Listed:
    """An honest source of three responses."""

    framing = Framing()
    every: float | None = None
    away = False

    def describe(self) -> str:
        return "a list"

    def check(self) -> None:
        if self.away:
            raise Unavailable("the list is away")

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        self.check()
        for number in range(cursor or 0, len(List.BODIES)):
            yield Response(self.body(number), self.cursor(number + 1))

    def body(self, number: int) -> bytes:
        return List.BODIES[number]

    def cursor(self, number: int) -> Cursor:
        return number


class List(SourceSystem):
    BODIES = (b"a", b"\xff", b"c")

    def __init__(self, made: type[Listed]) -> None:
        self._made = made
        self._sources: list[Listed] = []

    def source(self) -> Source:
        self._sources.append(self._made())
        return self._sources[-1]

    def bodies(self) -> Sequence[bytes]:
        return self.BODIES

    def leave(self) -> None:
        for source in self._sources:
            source.away = True


class RepairsText(Listed):
    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        for response in super().poll(cursor, clock):
            repaired = response.body.decode(errors="replace").encode()
            yield Response(repaired if cursor is None else response.body, response.cursor)


class CursorsOfTuples(Listed):
    def cursor(self, number: int) -> Cursor:
        return (number,)

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        return super().poll(cursor[0] if cursor else None, clock)


class ForgetsTheSecond(Listed):
    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        return super().poll(1 if cursor == 2 else cursor, clock)


class Remembers(Listed):
    given = 0

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        for response in super().poll(max(cursor or 0, self.given), clock):
            self.given = response.cursor if response.cursor < 3 else 0
            yield response


class OneCursor(Listed):
    def __init__(self) -> None:
        self._shared: dict[str, int] = {}

    def cursor(self, number: int) -> Cursor:
        self._shared["row"] = number
        return self._shared

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        return super().poll(cursor["row"] if cursor else None, clock)


class Talkative(Listed):
    def describe(self) -> str:
        return "a list\nof three"


class Impatient(Listed):
    every = -1.0


class ConsumesAtCheck(Listed):
    skipped = 0

    def check(self) -> None:
        super().check()
        self.skipped = 1

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        if self.away:
            raise Unavailable("the list is away")
        for number in range(max(cursor or 0, self.skipped), 3):
            yield Response(self.body(number), self.cursor(number + 1))


class GivesUp(Listed):
    def check(self) -> None:
        if self.away:
            raise Refused("the list is away")


BROKEN: dict[str, type[Listed]] = {
    "a_poll_gives_every_response_as_it_came": RepairsText,
    "cursors_are_json": CursorsOfTuples,
    "every_cursor_goes_on_after_its_response": ForgetsTheSecond,
    "what_was_not_landed_comes_again": Remembers,
    "a_cursor_does_not_change_after_it_was_given": OneCursor,
    "a_source_describes_itself_in_one_line": Talkative,
    "a_source_says_how_records_lie_and_when_to_come_again": Impatient,
    "check_is_silent_when_all_is_well": ConsumesAtCheck,
    "a_system_that_is_away_is_unavailable": GivesUp,
}

ALSO = {
    "a_poll_gives_every_response_as_it_came": {"check_is_silent_when_all_is_well"},
    "a_cursor_does_not_change_after_it_was_given": {
        "every_cursor_goes_on_after_its_response",
        "what_was_not_landed_comes_again",
    },
}
"""Checks that the same fault breaks as well, because they look at the same thing."""


def checks() -> dict[str, Callable[[SourceSystem], object]]:
    return {
        name.removeprefix("test_"): getattr(suite(), name)
        for suite in (SourceConformance, RemoteSourceConformance)
        for name in vars(suite)
        if name.startswith("test_")
    }


def failures(made: type[Listed]) -> set[str]:
    failed = set()
    for name, check in checks().items():
        try:
            check(List(made))
        except (AssertionError, PenstockError, pytest.fail.Exception):
            failed.add(name)
    return failed


def test_every_check_has_a_source_that_fails_it() -> None:
    assert BROKEN.keys() == checks().keys()


def test_an_honest_source_passes() -> None:
    assert failures(Listed) == set()


@pytest.mark.parametrize("check", BROKEN)
def test_the_check_fails_and_no_other(check: str) -> None:
    assert failures(BROKEN[check]) == {check} | ALSO.get(check, set())
