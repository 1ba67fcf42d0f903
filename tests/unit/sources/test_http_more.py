"""The `Http` source against APIs of several kinds: tokens, links, OAuth2, validators, bounds."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sources.doubles import RawServer, StepClock, answer

from penstock.errors import DeclarationError, PenstockError, Refused, Unavailable
from penstock.interfaces import Response
from penstock.profile import env
from penstock.sources import instants
from penstock.sources.chains import Cursors, Links
from penstock.sources.encodings import BadBody, unpack
from penstock.sources.http import Http
from penstock.sources.oauth2 import OAuth2
from penstock.sources.pagination import Pages
from penstock.sources.since import Since

Query = dict[str, str]


def serve(server: RawServer, answers: Callable[[Query, dict[str, str]], bytes]) -> list[Query]:
    """Answer by query and headers; returns the queries as they come."""
    seen: list[Query] = []

    def respond(path: str, headers: dict[str, str]) -> bytes:
        seen.append(dict(parse_qsl(urlsplit(path).query)))
        return answers(seen[-1], headers)

    server.answers = respond
    return seen


def poll(source: Http, clock: StepClock, cursor: Any = None) -> list[Response]:
    """Poll as the engine does: anew from the last cursor, through JSON, after an `Unavailable`."""
    responses: list[Response] = []
    for _ in range(60):
        try:
            for response in source.poll(json.loads(json.dumps(cursor)), clock):
                responses.append(response)
                cursor = response.cursor
        except Unavailable:
            continue
        return responses
    raise AssertionError("the poll does not end")


def body(*numbers: int, **more: Any) -> bytes:
    return json.dumps({"items": list(numbers), **more}).encode()


def records(responses: list[Response]) -> list[Any]:
    return [n for r in responses for n in json.loads(r.body)["items"]]


# --- tokens --------------------------------------------------------------------------------------


def tokens(server: RawServer, count: int = 4) -> list[Query]:
    def respond(query: Query, headers: dict[str, str]) -> bytes:
        at = int(query.get("cursor", "t0")[1:])
        following = f"t{at + 1}" if at + 1 < count else None
        return answer(body(at, meta={"next": following}))

    return serve(server, respond)


def test_tokens_are_followed_to_the_end(server: RawServer, clock: StepClock) -> None:
    seen = tokens(server)
    source = Http(server.url, records="items", pages=Cursors("meta.next"))
    assert records(poll(source, clock)) == [0, 1, 2, 3]
    assert seen == [{}, {"cursor": "t1"}, {"cursor": "t2"}, {"cursor": "t3"}]


def test_a_walk_by_tokens_goes_on_after_every_answer(server: RawServer, clock: StepClock) -> None:
    tokens(server)
    source = Http(server.url, records="items", pages=Cursors("meta.next"))
    for number, response in enumerate(poll(source, clock)[:-1], 1):
        assert records(poll(source, clock, response.cursor)) == [0, 1, 2, 3][number:]


def test_a_token_in_a_header(server: RawServer, clock: StepClock) -> None:
    serve(
        server,
        lambda query, headers: (
            answer(body(1), "200 OK", "X-Next: two & more") if not query else answer(body(2))
        ),
    )
    source = Http(server.url, records="items", pages=Cursors(header="X-Next", param="after"))
    assert records(poll(source, clock)) == [1, 2]
    assert parse_qs(urlsplit(server.asked[1]).query) == {"after": ["two & more"]}


@pytest.mark.parametrize(
    "last", [{}, {"next": None}, {"next": ""}, {"next": False}, {"next": {}}, {"next": []}]
)
def test_what_is_no_token_ends_the_walk(
    server: RawServer, clock: StepClock, last: dict[str, Any]
) -> None:
    serve(server, lambda query, headers: answer(body(1, **last)))
    assert len(poll(Http(server.url, records="items", pages=Cursors("next")), clock)) == 1


def test_a_token_may_be_a_number(server: RawServer, clock: StepClock) -> None:
    seen = serve(
        server,
        lambda query, headers: answer(body(1, **({} if query else {"next": 12345678901234567890}))),
    )
    poll(Http(server.url, records="items", pages=Cursors("next")), clock)
    assert seen[1] == {"cursor": "12345678901234567890"}


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_cursor_that_the_api_knows_no_more(
    server: RawServer, clock: StepClock, status: int
) -> None:
    def respond(query: Query, headers: dict[str, str]) -> bytes:
        if query.get("cursor") == "old":
            return answer(b"no such cursor", f"{status} No")
        return answer(body(1, next=None if query else "new"))

    serve(server, respond)
    old = {"at": "old", "asked": 3}
    refusing = Http(server.url, records="items", pages=Cursors("next", growing=True))
    with pytest.raises(Refused, match=r"knows? the cursor no more.*expired='restart'.*new name"):
        list(refusing.poll(old, clock))
    source = Http(
        server.url, records="items", pages=Cursors("next", growing=True, expired="restart")
    )
    first, second = source.poll(old, clock)
    assert first.headers["note"] == f"the API answered {status} to the kept cursor; begun anew"
    assert "note" not in second.headers


def test_a_restart_is_not_repeated_within_a_poll(server: RawServer, clock: StepClock) -> None:
    """A token that was given just now and is refused would make an endless walk."""

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        return answer(b"", "410 Gone") if query else answer(body(1, next="never"))

    seen = serve(server, respond)
    source = Http(server.url, records="items", pages=Cursors("next", expired="restart"))
    with pytest.raises(Refused, match="cursor no more"):
        list(source.poll({"at": "old", "asked": 1}, clock))
    assert len(seen) == 3


def test_other_refusals_stay_what_they_are(server: RawServer, clock: StepClock) -> None:
    serve(server, lambda query, headers: answer(b"", "403 No"))
    source = Http(server.url, records="items", pages=Cursors("next", expired="restart"))
    with pytest.raises(Refused, match="answered 403"):
        list(source.poll({"at": "old", "asked": 1}, clock))


def test_an_answer_without_its_token_is_landed_three_times_and_waited_for(
    server: RawServer, clock: StepClock
) -> None:
    broken = True

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        if query.get("cursor") == "b" and broken:
            return answer(b"<html>")
        return answer(body(2) if query else body(1, next="b"))

    serve(server, respond)
    source = Http(server.url, records="items", pages=Cursors("next"))
    cursor, landed = None, []
    for _ in range(6):
        with pytest.raises(Unavailable, match="holds no list of records"):
            for response in source.poll(cursor, clock):
                cursor = response.cursor
                landed.append(response.body)
    assert landed == [body(1, next="b"), *[b"<html>"] * 3]
    broken = False
    assert records(poll(source, clock, cursor)) == [2]


# --- links ---------------------------------------------------------------------------------------


def linked(server: RawServer, following: Callable[[int], str | None]) -> list[Query]:
    def respond(query: Query, headers: dict[str, str]) -> bytes:
        at = int(query.get("page", "1"))
        target = following(at + 1)
        link = [] if target is None else [f'Link: <{target}>; rel="next", </>; rel="first"']
        return answer(body(at), "200 OK", *link)

    return serve(server, respond)


def test_links_are_followed(server: RawServer, clock: StepClock) -> None:
    seen = linked(server, lambda page: f"/items?page={page}&n=2" if page < 4 else None)
    source = Http(server.url + "/items", records="items", pages=Links(), params={"n": "2"})
    responses = poll(source, clock)
    assert records(responses) == [1, 2, 3]
    assert seen == [{"n": "2"}, {"page": "2", "n": "2"}, {"page": "3", "n": "2"}]
    for number, response in enumerate(responses[:-1], 1):
        assert records(poll(source, clock, response.cursor)) == [1, 2, 3][number:]


def test_a_link_elsewhere_is_not_followed_with_credentials(
    server: RawServer, clock: StepClock
) -> None:
    elsewhere = RawServer()
    elsewhere.answers = lambda path, headers: answer(body(2))
    linked(server, lambda page: f"{elsewhere.url}/x")
    with pytest.raises(Refused, match="credentials and headers are not sent"):
        poll(Http(server.url, records="items", pages=Links(), headers={"X-Key": "s"}), clock)
    assert elsewhere.asked == []
    assert records(poll(Http(server.url, records="items", pages=Links()), clock)) == [1, 2]
    elsewhere.close()


def test_secret_parameters_are_sent_and_not_kept(
    server: RawServer, clock: StepClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    seen = linked(server, lambda page: f"?page={page}&key=s3cret" if page < 4 else None)
    source = Http(server.url, records="items", pages=Links(), params={"key": env("KEY")})
    responses = poll(source, clock)
    assert [query["key"] for query in seen] == ["s3cret"] * 3
    assert records(responses) == [1, 2, 3]
    assert "s3cret" not in repr(responses)


# --- OAuth2 --------------------------------------------------------------------------------------


class TokenServer:
    """Gives tokens t1, t2, …, and remembers how it was asked."""

    def __init__(self) -> None:
        self.server = RawServer()
        self.given = 0
        self.headers: dict[str, str] = {}
        self.more: dict[str, Any] = {"token_type": "bearer", "expires_in": 3600}
        self.reply: bytes | None = None
        self.server.answers = self._give
        self.url = self.server.url + "/token"

    def _give(self, path: str, headers: dict[str, str]) -> bytes:
        self.given += 1
        self.headers = headers
        token = {"access_token": f"t{self.given}", **self.more}
        return self.reply or answer(json.dumps(token).encode())


@pytest.fixture
def giver() -> Iterator[TokenServer]:
    giver = TokenServer()
    yield giver
    giver.server.close()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr/et")


def oauth(giver: TokenServer, **more: Any) -> OAuth2:
    return OAuth2(giver.url, client_id="me", client_secret=env("SECRET"), **more)


def guarded(server: RawServer, good: set[str]) -> list[str]:
    """An API of three pages that takes some tokens; the tokens it was shown."""
    shown: list[str] = []

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        shown.append(headers["authorization"].removeprefix("Bearer "))
        page = int(query["page"])
        if shown[-1] not in good:
            return answer(b"expired", "401 Unauthorized")
        return answer(body(*([page] if page < 4 else [])))

    serve(server, respond)
    return shown


def test_a_token_is_fetched_once_and_kept(
    server: RawServer, clock: StepClock, giver: TokenServer
) -> None:
    shown = guarded(server, {"t1"})
    source = Http(server.url, records="items", pages=Pages(), auth=oauth(giver, scope="read all"))
    assert records(poll(source, clock)) == [1, 2, 3]
    poll(source, clock)
    assert shown == ["t1"] * 8
    assert giver.given == 1
    assert giver.headers["authorization"] == "Basic bWU6czNjciUyRmV0"  # me:s3cr%2Fet
    assert giver.headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_token_that_expires_in_the_middle_of_pages_is_renewed(
    server: RawServer, clock: StepClock, giver: TokenServer
) -> None:
    good = {"t1"}
    shown = guarded(server, good)
    source = Http(server.url, records="items", pages=Pages(), auth=oauth(giver))
    landed = []
    for response in source.poll(None, clock):
        landed.append(response)
        if len(landed) == 2:
            good.clear()
            good.add("t2")
    assert records(landed) == [1, 2, 3]
    assert shown == ["t1", "t1", "t1", "t2", "t2"]
    assert "t1" not in repr([(r.cursor, r.headers) for r in landed])


def test_a_token_is_renewed_before_it_expires(
    server: RawServer, clock: StepClock, giver: TokenServer
) -> None:
    guarded(server, {"t1", "t2", "t3"})
    source = Http(server.url, records="items", pages=Pages(), auth=oauth(giver))
    for wait, fetched in ((3500, 1), (80, 1), (3500, 2)):
        poll(source, clock)
        assert giver.given == fetched
        clock.wait(wait)


def test_a_fresh_token_that_is_refused_ends_the_poll(
    server: RawServer, clock: StepClock, giver: TokenServer
) -> None:
    shown = guarded(server, set())
    source = Http(server.url, records="items", pages=Pages(), auth=oauth(giver))
    with pytest.raises(Refused, match="answered 401"):
        list(source.poll(None, clock))
    assert shown == ["t1", "t2"]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (answer(b'{"error": "invalid_client s3cr/et"}', "401 No"), Refused, "invalid_client ***"),
        (answer(b"", "302 Found", "Location: http://elsewhere/"), Refused, "answered 302"),
        (answer(b"{}"), Refused, "without access_token"),
        (answer(b'{"access_token": "a", "token_type": "mac"}'), Refused, "'mac'"),
        (answer(b"", "503 No", "Retry-After: 9"), Unavailable, "answered 503"),
        (answer(b"", "429 Slow", "Retry-After: 9"), Unavailable, "answered 429"),
    ],
)
def test_a_token_server_that_gives_none(
    server: RawServer,
    clock: StepClock,
    giver: TokenServer,
    reply: bytes,
    kind: type[PenstockError],
    words: str,
) -> None:
    giver.reply = reply
    with pytest.raises(kind) as caught:
        list(Http(server.url, auth=oauth(giver)).poll(None, clock))
    assert words in str(caught.value)
    assert "s3cr" not in str(caught.value)
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after == 9
    assert server.asked == []


def test_a_token_is_not_sent_elsewhere(
    server: RawServer, clock: StepClock, giver: TokenServer
) -> None:
    server.answers = lambda path, headers: answer(b"", "302 F", f"Location: {giver.server.url}/x")
    with pytest.raises(Refused, match="credentials and headers are not sent"):
        list(Http(server.url, auth=oauth(giver)).poll(None, clock))
    assert giver.given == 1


def test_secrets_are_not_written_in_programs() -> None:
    with pytest.raises(DeclarationError, match="client_secret="):
        OAuth2("https://host", client_id="me", client_secret="s")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="in clear"):
        OAuth2("http://host/token", client_id="me", client_secret=env("SECRET"))
    assert "SECRET" not in repr(OAuth2("https://host", "me", env("SECRET")))


# --- validators ----------------------------------------------------------------------------------


def test_an_answer_that_has_not_changed_lands_nothing(server: RawServer, clock: StepClock) -> None:
    tag = '"1"'

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        if headers.get("if-none-match") == tag:
            return b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
        return answer(body(1), "200 OK", f"ETag: {tag}")

    serve(server, respond)
    source = Http(server.url, records="items")
    (first,) = poll(source, clock)
    assert poll(source, clock, first.cursor) == []
    tag = 'W/"2"'
    (second,) = poll(source, clock, first.cursor)
    assert poll(source, clock, second.cursor) == []
    elsewhere = Http(server.url + "/other", records="items")
    assert len(poll(elsewhere, clock, second.cursor)) == 1, "another request is not conditional"


def test_a_date_counts_only_when_nothing_can_have_changed_since(
    server: RawServer, clock: StepClock
) -> None:
    shown: list[str | None] = []
    sent = "Thu, 01 Jan 2026 00:00:05 GMT"

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        shown.append(headers.get("if-modified-since"))
        return answer(
            body(1), "200 OK", "Last-Modified: Thu, 01 Jan 2026 00:00:05 GMT", f"Date: {sent}"
        )

    serve(server, respond)
    (first,) = poll(Http(server.url), clock)
    sent = "Thu, 01 Jan 2026 00:00:06 GMT"
    (second,) = poll(Http(server.url), clock, first.cursor)
    poll(Http(server.url), clock, second.cursor)
    assert shown == [None, None, "Thu, 01 Jan 2026 00:00:05 GMT"]


def test_only_the_start_of_a_walk_is_conditional(server: RawServer, clock: StepClock) -> None:
    asked: list[tuple[str, bool]] = []

    def respond(query: Query, headers: dict[str, str]) -> bytes:
        page = int(query["page"])
        asked.append((query["page"], "if-none-match" in headers))
        return answer(body(*range(page, 3)), "200 OK", f'ETag: "{page}"')

    serve(server, respond)
    source = Http(server.url, records="items", pages=Pages())
    responses = poll(source, clock)
    poll(source, clock, responses[-1].cursor)
    assert asked == [(page, False) for page in "123123"]


def test_an_unchanged_answer_nobody_asked_about_is_refused(
    server: RawServer, clock: StepClock
) -> None:
    server.answers = lambda path, headers: b"HTTP/1.1 304 N\r\nConnection: close\r\n\r\n"
    with pytest.raises(Refused, match="answered 304"):
        poll(Http(server.url), clock)


# --- compressed bodies ---------------------------------------------------------------------------


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(text) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two members": ("gzip", lambda b: gzip.compress(b[:5]) + gzip.compress(b[5:])),
    "padded": ("x-gzip", lambda b: gzip.compress(b) + bytes(64)),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_bodies(server: RawServer, clock: StepClock, name: str) -> None:
    encoding, pack = PACKED[name]
    whole = b'{"items": [1], "more": "' + b"x\xff" * 300_000 + b'"}'
    sent = answer(pack(whole), "200 OK", f"Content-Encoding: {encoding}")
    server.answers = lambda path, headers: sent
    (response,) = poll(Http(server.url), clock)
    assert response.body == whole
    assert not response.cut_off


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate", "two members"])
def test_a_compressed_body_that_ends_early_is_cut_off(
    server: RawServer, clock: StepClock, name: str
) -> None:
    """The length is that of what was sent: only the compression shows that something is missing."""
    encoding, pack = PACKED[name]
    whole = json.dumps({"items": list(range(9999))}).encode()
    cut = answer(pack(whole)[:-100], "200 OK", f"Content-Encoding: {encoding}")
    server.answers = lambda path, headers: cut
    responses = []
    with pytest.raises(Unavailable, match="broke off: the compressed body ends before"):
        for response in Http(server.url, records="items").poll(None, clock):
            responses.append(response)  # noqa: PERF402
    (response,) = responses
    assert response.cut_off
    assert whole.startswith(response.body)


@pytest.mark.parametrize(
    ("sent", "encoding", "words"),
    [
        (b"not gzip at all", "gzip", "damaged"),
        (gzip.compress(b"x") + b"rest", "gzip", "damaged"),
        (b"x", "br", "only gzip, deflate was asked for"),
    ],
)
def test_damaged_bodies(
    server: RawServer, clock: StepClock, sent: bytes, encoding: str, words: str
) -> None:
    server.answers = lambda p, h: answer(sent, "200 OK", f"Content-Encoding: {encoding}")
    with pytest.raises(Unavailable, match=words):
        list(Http(server.url).poll(None, clock))


@settings(deadline=None)
@given(
    st.binary(max_size=2000), st.lists(st.integers(0, 400), max_size=6), st.sampled_from([*PACKED])
)
def test_how_a_compressed_body_is_cut_into_chunks_does_not_matter(
    whole: bytes, cuts: list[int], name: str
) -> None:
    encoding, pack = PACKED[name]
    packed = pack(whole)
    ends = [*sorted(cuts), len(packed)]
    chunks = [packed[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert b"".join(unpack([c for c in chunks if c], encoding)) == whole


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_cut_gzip_body_is_never_taken_for_whole(whole: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(whole)
    cut = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(BadBody):
        b"".join(unpack([packed[:cut]], "gzip"))


# --- since ---------------------------------------------------------------------------------------


def row(n: int, at: str | int) -> dict[str, Any]:
    return {"n": n, "meta": {"at": at}}


class Table:
    """An API over rows with a time, which includes its lower bound and leaves out the upper one."""

    def __init__(self, server: RawServer, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.seen = serve(server, self._answer)

    def _answer(self, query: Query, headers: dict[str, str]) -> bytes:
        low, high = query["after"], query.get("before")
        chosen = [
            r
            for r in self.rows
            if not self._below(r, low) and (high is None or self._below(r, high))
        ]
        page = int(query.get("page", "1"))
        return answer(json.dumps({"items": chosen[2 * page - 2 : 2 * page]}).encode())

    @staticmethod
    def _below(row: dict[str, Any], bound: str) -> bool:
        return instants.greater(bound, str(row["meta"]["at"]))


DAY = "2026-01-0{}T00:00:00Z".format


def since(server: RawServer, start: str = DAY(1), **more: Any) -> Http:
    bound = Since("meta.at", param="after", start=start, **more)
    return Http(server.url, records="items", pages=Pages(), since=bound)


def numbers(responses: list[Response]) -> list[int]:
    return [r["n"] for r in records(responses)]


def test_a_poll_asks_for_what_came_since_the_newest_record(
    server: RawServer, clock: StepClock
) -> None:
    clock.time = datetime(2026, 2, 1, tzinfo=UTC)
    table = Table(server, [row(1, DAY(1)), row(2, DAY(3)), row(3, DAY(2))])
    responses = poll(since(server), clock)
    assert numbers(responses) == [1, 2, 3]
    assert {q["after"] for q in table.seen} == {DAY(1)}, "one bound for all pages of a walk"
    table.rows.append(row(4, DAY(4)))
    responses = poll(since(server), clock, responses[-1].cursor)
    assert numbers(responses) == [2, 4]
    assert table.seen[-1]["after"] == DAY(3)
    assert responses[-1].cursor["since"] == DAY(4)


def test_a_bound_moves_only_when_the_walk_has_ended(server: RawServer, clock: StepClock) -> None:
    clock.time = datetime(2026, 2, 1, tzinfo=UTC)
    table = Table(server, [row(n, DAY(9 - n)) for n in range(1, 7)])
    first = next(iter(since(server).poll(None, clock)))
    rest = poll(since(server), clock, first.cursor)
    assert numbers([first, *rest]) == [1, 2, 3, 4, 5, 6]
    assert {q["after"] for q in table.seen} == {DAY(1)}
    assert rest[-1].cursor["since"] == DAY(8)


@pytest.mark.parametrize(
    "wrong",
    ["9999-12-31T00:00:00Z", "soon", 99999999999, None, True, {"x": 1}, "2026-02-01T00:01Z"],
)
def test_a_record_with_a_wrong_time_does_not_hide_later_ones(
    server: RawServer, clock: StepClock, wrong: Any
) -> None:
    clock.time = datetime(2026, 2, 1, tzinfo=UTC)
    items = [row(1, DAY(2)), {"n": 2, "meta": {"at": wrong}}, {"n": 3}, 4]
    serve(server, lambda query, headers: answer(json.dumps({"items": items}).encode()))
    bound = Since("meta.at", param="after", start=DAY(1))
    (response,) = poll(Http(server.url, records="items", since=bound), clock)
    assert response.cursor["since"] == DAY(2)


def test_numbers_as_bounds_and_an_overlap(server: RawServer, clock: StepClock) -> None:
    table = Table(server, [row(1, 7), row(2, 10), row(3, 9)])
    responses = poll(since(server, "0", overlap=2), clock)
    poll(since(server, "0", overlap=2), clock, responses[-1].cursor)
    assert [q["after"] for q in table.seen if q["page"] == "1"] == ["-2", "8"]


def test_an_overlap_of_times(server: RawServer, clock: StepClock) -> None:
    clock.time = datetime(2026, 2, 1, tzinfo=UTC)
    table = Table(server, [row(1, DAY(2))])
    poll(since(server, overlap="1h"), clock)
    assert table.seen[0]["after"] == "2025-12-31T23:00:00Z"


def test_windows_are_asked_for_one_after_the_other(server: RawServer, clock: StepClock) -> None:
    clock.time = datetime(2026, 1, 4, 12, tzinfo=UTC)
    table = Table(server, [row(n, DAY(n)) for n in range(1, 5)])
    options = {"until": "before", "window": "1d"}
    responses = poll(since(server, **options), clock)
    asked = [(q["after"], q["before"]) for q in table.seen if q["page"] == "1"]
    assert asked == [
        (DAY(1), DAY(2)),
        (DAY(2), DAY(3)),
        (DAY(3), DAY(4)),
        (DAY(4), "2026-01-04T12:00:00Z"),
    ]
    assert numbers(responses) == [1, 2, 3, 4]
    for number, response in enumerate(responses[:-1], 1):
        rest = poll(since(server, **options), clock, response.cursor)
        assert numbers(responses[:number] + rest) == [1, 2, 3, 4]
    clock.time = datetime(2026, 1, 4, 13, tzinfo=UTC)
    table.seen.clear()
    poll(since(server, **options), clock, responses[-1].cursor)
    assert table.seen[0] == {"after": DAY(4), "before": "2026-01-04T13:00:00Z", "page": "1"}


def test_windows_of_dates_wait_until_a_day_is_over(server: RawServer, clock: StepClock) -> None:
    clock.time = datetime(2026, 1, 3, 12, tzinfo=UTC)
    table = Table(server, [])
    options = {"until": "before", "window": "1d"}
    responses = poll(since(server, "2026-01-01", **options), clock)
    assert [(q["after"], q["before"]) for q in table.seen] == [
        ("2026-01-01", "2026-01-02"),
        ("2026-01-02", "2026-01-03"),
    ]
    assert poll(since(server, "2026-01-01", **options), clock, responses[-1].cursor) == []
    assert len(table.seen) == 2


@pytest.mark.parametrize("window", [None, "1d", "7h"])
def test_a_range_is_asked_for_alone_and_once(
    server: RawServer, clock: StepClock, window: str | None
) -> None:
    Table(server, [row(n, DAY(n)) for n in range(1, 10)])
    source = since(server, until="before", window=window).between(DAY(3), DAY(6))
    responses = poll(source, clock)
    assert numbers(responses) == [3, 4, 5]
    assert poll(source, clock, responses[-1].cursor) == []
    for number, response in enumerate(responses[:-1], 1):
        rest = poll(source, clock, response.cursor)
        assert numbers(responses[:number] + rest) == [3, 4, 5]


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 30), st.integers(1, 40))
def test_windows_cover_a_range_without_a_gap_or_an_overlap(
    start: int, length: int, window: int
) -> None:
    bound = Since("at", param="after", start="0", until="before", window=window)
    limits = bound.checked(str(start), str(start + length))
    now, at = datetime(2026, 1, 1, tzinfo=UTC), str(start)
    asked: list[int] = []
    while (bounds := bound.begin(at, now, limits)) is not None:
        query = bound.query(bounds, limits)
        asked += range(int(query["after"]), int(query["before"]))
        at, _ = bound.following(bounds, limits)
    assert asked == list(range(start, start + length))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (DAY(2), DAY(2), "holds nothing"),
        (DAY(3), DAY(2), "holds nothing"),
        ("5", "6", "is no bound"),
        (DAY(2), "soon", "is no bound"),
    ],
)
def test_ranges_that_are_none(server: RawServer, start: str, end: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        since(server, until="before").between(start, end)


def test_a_source_that_takes_no_ranges_says_what_to_write(server: RawServer) -> None:
    with pytest.raises(Refused, match=r"since=ps\.Since"):
        Http(server.url).between(DAY(1), DAY(2))
    with pytest.raises(Refused, match="until="):
        since(server).between(DAY(1), DAY(2))


@pytest.mark.parametrize(
    ("bound", "by", "later"),
    [
        ("2026-02-28", 86400, "2026-03-01"),
        ("2026-02-28", 3600, "2026-02-28T01:00:00"),
        ("2026-02-28T12:00:00Z", -3600, "2026-02-28T11:00:00Z"),
        ("2026-02-28T12:00:00+02:00", 1.5, "2026-02-28T12:00:01.500000+02:00"),
        ("7", 86400.0, "86407"),
        ("7.5", -0.5, "7.0"),
    ],
)
def test_bounds_keep_their_form(bound: str, by: float, later: str) -> None:
    assert instants.moved(bound, by) == later


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Cursors(),
        lambda: Cursors("a", header="b"),
        lambda: Cursors("a..b"),
        lambda: Cursors("a", param=""),
        lambda: Cursors("a", most=0),
        lambda: Cursors("a", expired="perhaps"),
        lambda: Links(most=0),
        lambda: Links(expired=""),
        lambda: Since("", param="p", start="1"),
        lambda: Since("a..b", param="p", start="1"),
        lambda: Since("a", param="", start="1"),
        lambda: Since("a", param="p", start=""),
        lambda: Since("a", param="p", start="abc", overlap=1),
        lambda: Since("a", param="p", start="1", window=1),
        lambda: Since("a", param="p", start="1", until="u", window="often"),
        lambda: Http(
            "http://host",
            records=".",
            pages=Pages(growing=True),
            since=Since("a", param="p", start="1"),
        ),
    ],
)
def test_wrong_declarations(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert caught.value.file == __file__
