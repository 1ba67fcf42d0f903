"""The `Http` source against a real socket that answers byte for byte what a test says."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.unit.sources.doubles import RawServer, StepClock, answer

from penstock.errors import DeclarationError, PenstockError, ProfileError, Refused, Unavailable
from penstock.interfaces import Framing, Response
from penstock.profile import env
from penstock.sources.credentials import Basic, Bearer
from penstock.sources.http import Http
from penstock.sources.pagination import Offsets, Pages
from penstock.sources.session import Session


def drain(
    source: Http, cursor: Any, clock: StepClock
) -> tuple[list[Response], PenstockError | None]:
    """What one poll gave, and the error that ended it."""
    responses: list[Response] = []
    try:
        for response in source.poll(cursor, clock):
            responses.append(response)  # noqa: PERF402 - what came before an error counts
    except PenstockError as error:
        return responses, error
    return responses, None


def test_an_answer_is_taken_byte_for_byte(server: RawServer, clock: StepClock) -> None:
    body = b'\xff\x00 not "json" \r\n\xf0\x9f'
    server.answers = lambda path, headers: answer(body, "200 OK", "Content-Type: text/odd")
    (response,) = Http(server.url + "/api").poll(None, clock)
    assert response.body == body
    assert not response.cut_off
    assert response.headers == {
        "status": "200",
        "url": server.url + "/api",
        "content-type": "text/odd",
    }


def test_a_compressed_answer_is_unpacked(server: RawServer, clock: StepClock) -> None:
    packed = gzip.compress(b'{"results": []}')
    server.answers = lambda path, headers: answer(packed, "200 OK", "Content-Encoding: gzip")
    (response,) = Http(server.url, records="results").poll(None, clock)
    assert response.body == b'{"results": []}'


@pytest.mark.parametrize(
    ("records", "framing"),
    [
        (None, Framing()),
        (".", Framing(many=True)),
        ("results", Framing(path=("results",), many=True)),
        ("data.items", Framing(path=("data", "items"), many=True)),
    ],
)
def test_records_say_the_framing(records: str | None, framing: Framing) -> None:
    assert Http("http://localhost", records=records).framing == framing


def test_query_parameters_headers_and_credentials_are_sent(
    server: RawServer, clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k 1")
    monkeypatch.setenv("TOKEN", "t0ken")
    seen: dict[str, str] = {}
    server.answers = lambda path, headers: seen.update(headers) or answer(b"{}")
    source = Http(
        server.url + "/?kept=1",
        params={"key": env("KEY")},
        headers={"X-Team": "blue"},
        auth=Bearer(env("TOKEN")),
    )
    list(source.poll(None, clock))
    assert parse_qs(urlsplit(server.asked[0]).query) == {"kept": ["1"], "key": ["k 1"]}
    assert (seen["x-team"], seen["authorization"]) == ("blue", "Bearer t0ken")


def test_basic_credentials(server: RawServer, clock: StepClock) -> None:
    seen: dict[str, str] = {}
    server.answers = lambda path, headers: seen.update(headers) or answer(b"{}")
    list(Http(server.url, auth=Basic("me", "pass")).poll(None, clock))
    assert seen["authorization"] == "Basic bWU6cGFzcw=="


def test_an_address_from_the_environment_is_read_when_polled(
    server: RawServer, clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Http(env("SOME_API"))
    assert "SOME_API" in source.describe()
    with pytest.raises(ProfileError, match="SOME_API"):
        list(source.poll(None, clock))
    monkeypatch.setenv("SOME_API", server.url)
    assert source.describe() == server.url
    assert len(list(source.poll(None, clock))) == 1
    monkeypatch.setenv("SOME_API", "me:pass@host")
    with pytest.raises(Refused, match=r"^'host' is no address"):
        list(source.poll(None, clock))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_ask_later(server: RawServer, clock: StepClock, status: int) -> None:
    server.answers = lambda path, headers: answer(b"", f"{status} Oh", "Retry-After: 7")
    with pytest.raises(Unavailable, match=f"answered {status} Oh") as caught:
        list(Http(server.url).poll(None, clock))
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2.5", 2.5),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0),
        ("99999999999999", 86400.0),
        ("nan", None),
        ("soon", None),
    ],
)
def test_retry_after(
    server: RawServer, clock: StepClock, header: str, seconds: float | None
) -> None:
    server.answers = lambda path, headers: answer(b"", "503 No", f"Retry-After: {header}")
    with pytest.raises(Unavailable) as caught:
        list(Http(server.url).poll(None, clock))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 304])
def test_a_final_no_shows_why_without_secrets(
    server: RawServer, clock: StepClock, status: int
) -> None:
    server.answers = lambda path, headers: answer(b"bad token t0ken,\n sorry", f"{status} No")
    with pytest.raises(Refused) as caught:
        list(Http(server.url, auth=Bearer("t0ken")).poll(None, clock))
    assert f"answered {status}" in str(caught.value)
    assert "t0ken" not in str(caught.value)
    if status != 304:
        assert "bad token ***, sorry" in str(caught.value)


def test_nobody_answers(clock: StepClock) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        list(Http("http://127.0.0.1:9").poll(None, clock))


def test_a_time_out(server: RawServer, clock: StepClock) -> None:
    late = threading.Event()
    server.answers = lambda path, headers: (late.wait(5) and b"") or b""
    with pytest.raises(Unavailable, match="does not answer"):
        list(Http(server.url, timeout="50ms").poll(None, clock))
    late.set()


@pytest.mark.parametrize(
    "raw",
    [
        answer(b'{"results": [1, 2', length=100),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{"results": [1, 2\r\nzz\r\n',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{"results": [1, 2\r\n',
    ],
    ids=["length", "broken chunk", "missing chunk"],
)
def test_a_body_that_breaks_off_is_landed_and_asked_for_again(
    server: RawServer, clock: StepClock, raw: bytes
) -> None:
    server.answers = lambda path, headers: raw
    responses, error = drain(Http(server.url, records="results"), None, clock)
    assert isinstance(error, Unavailable)
    assert "broke off" in str(error)
    (cut,) = responses
    assert cut.cut_off
    assert cut.body == b'{"results": [1, 2'
    server.answers = lambda path, headers: answer(b'{"results": [1, 2]}')
    responses, error = drain(Http(server.url, records="results"), cut.cursor, clock)
    assert error is None
    assert [r.body for r in responses] == [b'{"results": [1, 2]}']


def test_a_body_that_breaks_off_for_ever_is_landed_three_times(
    server: RawServer, clock: StepClock
) -> None:
    server.answers = lambda path, headers: answer(b"[1", length=9)
    cursor, landed = None, 0
    for _ in range(6):
        responses, error = drain(Http(server.url, records="."), cursor, clock)
        assert isinstance(error, Unavailable)
        landed += len(responses)
        cursor = responses[-1].cursor if responses else cursor
    assert landed == 3


def test_a_body_that_never_began_is_not_landed(server: RawServer, clock: StepClock) -> None:
    server.answers = lambda path, headers: answer(b"", length=9)
    responses, error = drain(Http(server.url), None, clock)
    assert responses == []
    assert isinstance(error, Unavailable)


def test_a_body_over_max_bytes_is_refused(server: RawServer, clock: StepClock) -> None:
    server.answers = lambda path, headers: answer(b"x" * 2000)
    with pytest.raises(Refused, match="more than 1,000 bytes"):
        list(Http(server.url, max_bytes=1000).poll(None, clock))


def test_a_bomb_is_refused_before_it_is_unpacked_whole(server: RawServer, clock: StepClock) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    server.answers = lambda path, headers: answer(bomb, "200 OK", "Content-Encoding: gzip")
    tracemalloc.start()
    with pytest.raises(Refused, match="max_bytes"):
        list(Http(server.url, max_bytes=1_000_000).poll(None, clock))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 180_000_000


# --- redirects -----------------------------------------------------------------------------------


def test_a_redirect_on_the_same_host_is_followed_with_credentials(
    server: RawServer, clock: StepClock
) -> None:
    seen: dict[str, str] = {}

    def answers(path: str, headers: dict[str, str]) -> bytes:
        if path == "/old":
            return answer(b"", "302 Found", "Location: /new")
        seen.update(headers)
        return answer(b"{}")

    server.answers = answers
    list(Http(server.url + "/old", auth=Bearer("t")).poll(None, clock))
    assert server.asked == ["/old", "/new"]
    assert seen["authorization"] == "Bearer t"


def test_credentials_are_not_sent_elsewhere(server: RawServer, clock: StepClock) -> None:
    elsewhere = RawServer()
    server.answers = lambda path, headers: answer(b"", "302 F", f"Location: {elsewhere.url}/x")
    with pytest.raises(Refused, match="credentials and headers are not sent"):
        list(Http(server.url, headers={"X-Api-Key": "secret"}).poll(None, clock))
    assert elsewhere.asked == []
    assert len(list(Http(server.url).poll(None, clock))) == 1
    assert elsewhere.asked == ["/x"]
    elsewhere.close()


def test_redirects_in_a_circle_end(server: RawServer, clock: StepClock) -> None:
    server.answers = lambda path, headers: answer(b"", "302 Found", "Location: /")
    with pytest.raises(Refused, match="redirects more than"):
        list(Http(server.url).poll(None, clock))


# --- pagination ----------------------------------------------------------------------------------


def items(*numbers: int) -> bytes:
    return answer(json.dumps({"data": {"items": list(numbers)}}).encode())


class Api:
    """An API of pages, and a note of what was asked for."""

    def __init__(self, server: RawServer, pages: dict[int, bytes], param: str = "page") -> None:
        self.asked: list[int] = []
        self.pages = pages

        def answers(path: str, headers: dict[str, str]) -> bytes:
            at = int(parse_qs(urlsplit(path).query)[param][0])
            self.asked.append(at)
            return self.pages.get(at, items())

        server.answers = answers

    def walk(self, source: Http, clock: StepClock, cursor: Any = None) -> list[Response]:
        """Poll as the engine does: anew from the last cursor after each `Unavailable`."""
        responses: list[Response] = []
        for _ in range(50):
            more, error = drain(source, cursor, clock)
            responses += more
            cursor = responses[-1].cursor
            if error is None:
                return responses
        raise AssertionError("the walk does not end")


def paged(server: RawServer, **options: Any) -> Http:
    return Http(server.url, records="data.items", pages=Pages(**options))


def offsets(server: RawServer, **options: Any) -> Http:
    return Http(server.url, records="data.items", pages=Offsets(**options))


def test_pages_end_at_an_empty_one_and_the_next_poll_begins_anew(
    server: RawServer, clock: StepClock
) -> None:
    api = Api(server, {1: items(1, 2), 2: items(3)})
    responses = api.walk(paged(server), clock)
    assert api.asked == [1, 2, 3]
    assert responses[0].headers["url"] == f"{server.url}?page=1"
    api.walk(paged(server), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 3, 1, 2, 3]


def test_a_walk_goes_on_at_its_cursor(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {1: items(1, 2), 2: items(3, 4), 3: items(5, 6)})
    first = next(iter(paged(server).poll(None, clock)))
    api.walk(paged(server), clock, first.cursor)
    assert api.asked == [1, 2, 3, 4]


def test_pages_with_a_size_end_at_a_short_one(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {1: items(1, 2), 2: items(3, 4), 3: items(5)})
    api.walk(paged(server, size=2, size_param="n"), clock)
    assert api.asked == [1, 2, 3]
    assert server.asked[0] == "/?page=1&n=2"


def test_a_server_that_gives_less_than_the_size_loses_nothing(
    server: RawServer, clock: StepClock
) -> None:
    api = Api(server, {1: items(1, 2), 2: items(3, 4), 3: items(5, 6)})
    api.walk(paged(server, size=1000), clock)
    assert api.asked == [1, 2, 3, 4]


def test_growing_pages_go_on_at_the_last_one(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {1: items(1, 2), 2: items(3)})
    responses = api.walk(paged(server, growing=True), clock)
    api.pages = {1: items(1, 2), 2: items(3, 4), 3: items(5)}
    responses = api.walk(paged(server, growing=True), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 3, 2, 3, 4]
    api.walk(paged(server, growing=True), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 3, 2, 3, 4, 3, 4]


def test_at_most_so_many_pages(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {n: items(n) for n in range(1, 100)})
    responses = api.walk(paged(server, most=3), clock)
    api.walk(paged(server, most=3), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 3, 1, 2, 3]
    api.asked.clear()
    responses = api.walk(paged(server, most=3, growing=True), clock)
    api.walk(paged(server, most=3, growing=True), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 3, 4, 5, 6]


def test_offsets_go_on_by_what_came(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {0: items(1, 2), 2: items(3, 4), 4: items(5)}, "offset")
    responses = api.walk(offsets(server, limit=10), clock)
    assert api.asked == [0, 2, 4]
    assert server.asked[0] == "/?offset=0&limit=10"
    api.walk(offsets(server, limit=10), clock, responses[-1].cursor)
    assert api.asked == [0, 2, 4, 0, 2, 4]


def test_growing_offsets_take_each_record_once(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {0: items(1, 2), 2: items(3)}, "offset")
    responses = api.walk(offsets(server, growing=True), clock)
    api.pages = {3: items(4, 5)}
    responses += api.walk(offsets(server, growing=True), clock, responses[-1].cursor)
    landed = [n for r in responses for n in json.loads(r.body)["data"]["items"]]
    assert landed == [1, 2, 3, 4, 5]


NO_LISTS = {
    "no JSON": b"<html>",
    "half": b'{"data": {"items": [1',
    "two documents": b'{"data": {"items": []}} {}',
    "no path": b'{"data": {}}',
    "no list": b'{"data": {"items": {}}}',
    "a list": b"[]",
    "empty": b"",
    "deep": b'{"data": {"items": ' + b"[" * 100_000,
    "invalid UTF-8": b'{"data": {"items": ["\xff"',
}


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS.keys())
def test_a_page_that_cannot_be_read_is_asked_for_three_times_then_passed_over(
    server: RawServer, clock: StepClock, body: bytes
) -> None:
    api = Api(server, {1: items(1), 2: answer(body), 3: items(3)})
    responses = api.walk(paged(server), clock)
    assert api.asked == [1, 2, 2, 2, 3, 4]
    assert [r.body for r in responses].count(body) == 3


def test_a_page_that_can_be_read_the_second_time_is_not_passed_over(
    server: RawServer, clock: StepClock
) -> None:
    api = Api(server, {1: items(1), 2: answer(b"<html>"), 3: items(3)})
    responses, error = drain(paged(server), None, clock)
    assert isinstance(error, Unavailable)
    api.pages[2] = items(2)
    api.walk(paged(server), clock, responses[-1].cursor)
    assert api.asked == [1, 2, 2, 3, 4]


@pytest.mark.parametrize("growing", [False, True])
def test_an_api_without_a_readable_end_is_left(
    server: RawServer, clock: StepClock, growing: bool
) -> None:
    api = Api(server, {1: items(1), **{n: answer(b"no") for n in range(2, 1000)}})
    responses = api.walk(paged(server, growing=growing), clock)
    assert api.asked == [1, 2, 2, 2, 3]
    api.asked.clear()
    api.walk(paged(server, growing=growing), clock, responses[-1].cursor)
    assert api.asked == ([2, 2, 2, 3] if growing else [1, 2, 2, 2, 3])


def test_a_place_passed_over_by_offset(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {0: answer(b"no"), 5: items(6, 7)}, "offset")
    api.walk(offsets(server, limit=5), clock)
    assert api.asked == [0, 0, 0, 5, 7]


def test_without_pagination_an_unreadable_answer_is_landed_once(
    server: RawServer, clock: StepClock
) -> None:
    server.answers = lambda path, headers: answer(b"<html>")
    responses, error = drain(Http(server.url, records="results"), None, clock)
    assert error is None
    assert [r.body for r in responses] == [b"<html>"]


def test_a_large_page_is_counted_in_little_memory(server: RawServer, clock: StepClock) -> None:
    record = b'{"name": "' + b"x" * 10_000 + b'"}'
    body = b'{"data": {"items": [' + b",".join([record] * 2000) + b"]}}"
    api = Api(server, {1: answer(body)})
    tracemalloc.start()
    api.walk(paged(server), clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * len(body)  # the server's two copies are among them


# --- rate, check, declaration --------------------------------------------------------------------


def test_the_rate_holds_over_pages_and_polls(server: RawServer, clock: StepClock) -> None:
    api = Api(server, {1: items(1), 2: items(2)})
    source = Http(server.url, records="data.items", pages=Pages(), rate=4)
    api.walk(source, clock)
    api.walk(source, clock)
    assert clock.waits == pytest.approx([0.25] * 5)


def test_check_dials_once(server: RawServer) -> None:
    server.answers = lambda path, headers: answer(b"no", "401 No")
    with pytest.raises(Refused, match="401"):
        paged(server).check()
    assert server.asked == ["/?page=1"]


def test_secrets_are_not_shown() -> None:
    source = Http("https://me:pass@host/path?key=secret", auth=Basic("me", "pass"))
    assert source.describe() == "https://host/path"
    assert "pass" not in repr(Basic("me", "pass"))
    assert "t0ken" not in repr(Bearer("t0ken"))


def test_the_cursor_of_another_source_is_refused(server: RawServer, clock: StepClock) -> None:
    with pytest.raises(Refused, match="another kind of source"):
        list(Http(server.url).poll({"row": 5}, clock))


def test_a_wrong_declaration_names_the_line() -> None:
    with pytest.raises(DeclarationError, match=r"test_http\.py:\d+: every=: 'often' is not"):
        Http("http://host", every="often")


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Http("ftp://host"),
        lambda: Http("host/path"),
        lambda: Http("http://"),
        lambda: Http("http://host:port"),
        lambda: Http("http://[::1"),
        lambda: Http("http://host", every=0),
        lambda: Http("http://host", every=float("nan")),
        lambda: Http("http://host", timeout=-1),
        lambda: Http("http://host", rate=0),
        lambda: Http("http://host", max_bytes=0),
        lambda: Http("http://host", records="a..b"),
        lambda: Http("http://host", pages=Pages()),
        lambda: Pages(param=""),
        lambda: Pages(size=0),
        lambda: Pages(size_param="n"),
        lambda: Pages(most=0),
        lambda: Offsets(limit=0),
        lambda: Offsets(limit_param=""),
        lambda: Offsets(most=0),
    ],
)
def test_wrong_declarations(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert caught.value.file == __file__


@pytest.mark.parametrize(
    ("here", "there", "followed"),
    [
        ("http://api/a", "http://api/b", True),
        ("http://api/a", "https://api/a", True),
        ("https://api/a", "http://api/a", False),
        ("https://api/a", "https://api:8443/a", False),
        ("https://api/a", "https://api.evil/a", False),
        ("https://api/a", "https://API/a", True),
    ],
)
def test_where_credentials_may_follow(here: str, there: str, followed: bool) -> None:
    target = Http(here, auth=Bearer("t"))._target()
    with Session(target, httpx.create_ssl_context(), lambda: datetime.now(UTC)) as session:
        if followed:
            session._check_elsewhere(httpx.URL(here), httpx.URL(there), here)
        else:
            with pytest.raises(Refused, match="are not sent"):
                session._check_elsewhere(httpx.URL(here), httpx.URL(there), here)
