from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import psycopg
import pytest

from penstock.errors import Fenced, Refused
from penstock.interfaces import Response
from penstock.logs.landing import LandingLog
from penstock.logs.postgresql import open_landing
from penstock.records import Limits, Span

MANY = Limits(records=100_000, bytes=1 << 30)

Opener = Callable[..., LandingLog]


@pytest.fixture
def opened(database: str) -> Iterator[Opener]:
    logs = []

    def opener(name: str = "raw_users", pipeline: str = "users") -> LandingLog:
        logs.append(open_landing(database, pipeline, name))
        return logs[-1]

    yield opener
    for log in logs:
        log.close()


BODIES = [
    b'{"results": [1, 2]}',
    b"",
    b"\x00\x00",
    b"\xff\xfe not text",
    b"{} {}",
    b'{"nul": "\\u0000"}',
    b"\xef\xbb\xbf{}",
    b"x" * 3_000_000,
]


def test_bytes_are_kept_exactly(opened: Opener) -> None:
    landing = opened()
    assert landing.cursor() is None
    landing.append([Response(body, {"page": n}) for n, body in enumerate(BODIES)])
    read = landing.read({0: 0}, MANY)
    assert read.records["value"].to_list() == BODIES
    assert read.records["key"].null_count() == len(BODIES)
    assert read.records["born"].null_count() == 0
    assert opened().cursor() == {"page": len(BODIES) - 1}


def test_headers_and_cut_off_are_kept(opened: Opener, database: str) -> None:
    landing = opened()
    landing.cursor()
    landing.append([Response(b"{}", 1, {"status": "200", "ünï": "\N{SNOWMAN}"}, cut_off=True)])
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT headers, body FROM landing.raw_users_json").fetchone()
    assert row == ({"status": "200", "ünï": "\N{SNOWMAN}", "cut-off": "true"}, {})
    landing.append([Response(b"{}", 2, cut_off="a.gz: truncated")])
    headers = landing.read({0: 1}, MANY).records["headers"][0]
    facts = {name: base64.b64decode(value).decode() for name, value in json.loads(headers)}
    assert facts == {"cut-off": "true", "cut-off-why": "a.gz: truncated"}


def test_the_view_shows_what_is_json(opened: Opener, database: str) -> None:
    landing = opened()
    landing.cursor()
    landing.append([Response(body, 0) for body in BODIES])
    with psycopg.connect(database) as connection:
        rows = connection.execute('SELECT "offset", body FROM landing.raw_users_json').fetchall()
    assert rows == [(0, {"results": [1, 2]})]


@pytest.mark.parametrize(
    "cursor", [None, 0, 1.5, "text\0", [1, {"a": [None, True]}], {"é": 2**70}, ""]
)
def test_a_cursor_is_any_json_value(opened: Opener, cursor: object) -> None:
    landing = opened()
    landing.cursor()
    landing.append([Response(b"", "first"), Response(b"", cursor)])
    assert opened().cursor() == cursor


def test_two_processes_cannot_land_after_one_cursor(opened: Opener) -> None:
    first, second = opened(), opened()
    assert first.cursor() == second.cursor()
    second.append([Response(b"second", 2)])
    with pytest.raises(Fenced, match="another process has ingested"):
        first.append([Response(b"first", 1)])
    assert first.read({0: 0}, MANY).records["value"].to_list() == [b"second"]
    assert first.cursor() == 2
    first.append([Response(b"third", 3)])
    assert second.spans() == {0: Span(0, 2)}


def test_append_before_cursor_is_refused(opened: Opener) -> None:
    with pytest.raises(Refused, match="ask the landing for its cursor"):
        opened().append([Response(b"", 1)])


def test_no_responses_are_no_transaction(opened: Opener) -> None:
    landing = opened()
    landing.append([])
    assert landing.spans() == {0: Span(0, 0)}


def test_a_landing_belongs_to_one_pipeline(opened: Opener) -> None:
    opened()
    with pytest.raises(Refused, match="belongs to pipeline 'users'"):
        opened(pipeline="others")


def test_an_unfinished_run_goes_on_at_its_cursor(opened: Opener) -> None:
    landing = opened()
    landing.cursor("monday")
    landing.append([Response(b"1", 1)], "monday")
    again = opened()
    assert again.cursor("monday") == 1
    assert not again.finished("monday")
    again.append([Response(b"2", 2)], "monday", finished=True)
    assert again.finished("monday")
    assert opened().cursor("tuesday") == 2
    with pytest.raises(Fenced, match="'monday' is finished"):
        again.append([Response(b"3", 3)], "monday")
    assert again.spans() == {0: Span(0, 2)}
    assert again.cursor() == 2


def test_a_run_may_end_with_nothing_new(opened: Opener) -> None:
    landing = opened()
    landing.cursor()
    landing.append([Response(b"1", 1)])
    assert landing.cursor("monday") == 1
    landing.append([], "monday", finished=True)
    assert landing.finished("monday")
    assert landing.spans() == {0: Span(0, 1)}
    assert opened().cursor() == 1
