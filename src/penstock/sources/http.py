"""The `Http` source: polls an API and yields its answers as they come.

Guarantee: each answer is landed exactly as it came. Whether a record comes once or again depends
on the API: see `Pages` and `Offsets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock.errors import ProfileError, Refused, Unavailable
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.profile import EnvVar
from penstock.sources.answer import count_records
from penstock.sources.credentials import Auth, Secrets, Text, place, resolve
from penstock.sources.declared import require, seconds
from penstock.sources.pace import Pace
from penstock.sources.pagination import Once, Pagination, Walk

if TYPE_CHECKING:
    import ssl

    from penstock.sources.session import Answer, Session, Target

_LANDED_CUTS = 3
_MEGABYTE = 1024 * 1024


class Http:
    """Poll an HTTP API.

    The framework repeats what fails: an address that does not answer, a time-out, 408, 425, 429
    and 5xx are waited for with backoff, at least as long as `Retry-After` asks; any other 4xx is
    final. A body that breaks off is landed as far as it came (a dead letter; three times at most
    in a row) and asked for again. An answer that is no JSON, or lacks the path, is landed as it
    is; while paginating, its place is asked for three times and then passed over. Redirects are
    followed, with credentials or headers to the same host only.

    Args:
        url: The address; its query is kept. A variable is read when the source is opened.
        records: Where the records lie in the body: names joined by dots (`"data.items"`), `"."`
            when the body itself is the list, None when the body is one record.
        every: Seconds (or `"1m"`) from the end of one poll to the next; None to poll once.
        pages: `Pages(…)` or `Offsets(…)`; None when a poll is one request.
        params: Query parameters to add.
        headers: Header fields to send; their values are treated as secrets.
        auth: `Bearer(…)` or `Basic(…)`.
        timeout: Seconds to wait for the connection, and for each next byte.
        rate: Requests per second at most; None for no limit.
        max_bytes: A larger body is refused.

    Example:
        `ps.Http(ps.env("USERS_API"), records="results", every="1m", pages=ps.Pages(most=10))`
    """

    def __init__(  # noqa: PLR0913 - these keywords are the language of the program
        self,
        url: Text,
        *,
        records: str | None = None,
        every: str | float | None = None,
        pages: Pagination | None = None,
        params: Mapping[str, Text] | None = None,
        headers: Mapping[str, Text] | None = None,
        auth: Auth | None = None,
        timeout: str | float = 30,
        rate: float | None = None,
        max_bytes: int = 256 * _MEGABYTE,
    ) -> None:
        require(
            isinstance(url, EnvVar) or _is_address(url),
            f"{_end(str(url))!r} is no address of an API: write http://… or https://…",
        )
        require(rate is None or rate > 0, f"rate={rate} requests per second would ask nothing")
        require(max_bytes > 0, f"max_bytes={max_bytes} would refuse every answer")
        require(
            pages is None or records is not None,
            "pagination counts the records of each answer: say where they lie with records=",
        )
        self.framing = _framing(records)
        self.every = None if every is None else seconds(every, "every")
        self._url = url
        self._pages: Pagination = pages or Once()
        self._params = dict(params or {})
        self._headers = dict(headers or {})
        self._auth = auth
        self._timeout = seconds(timeout, "timeout")
        self._max_bytes = max_bytes
        self._pace = None if rate is None else Pace(rate)

    def describe(self) -> str:
        try:
            return place(resolve(self._url))
        except ProfileError as error:
            return str(error)

    def check(self) -> None:
        with self._session(lambda: datetime.now(UTC)) as session:
            session.ask(self._pages.query(self._pages.first)).close()

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        walk = self._begin(cursor)
        with self._session(clock.now) as session:
            while True:
                if self._pace is not None:
                    self._pace.take(clock)
                query = self._pages.query(walk.at)
                answer = session.fetch(query)
                if answer.broken:
                    yield from _landed_cut(walk, answer)
                    raise Unavailable(f"{session.place(query)} broke off: {answer.broken}")
                following = self._following(walk, answer)
                yield Response(answer.body, following.cursor(), answer.facts)
                if following.ended:
                    return
                if following.bad > walk.bad:
                    raise Unavailable(f"{session.place(query)} holds no list of records")
                walk = following

    def _begin(self, cursor: Cursor) -> Walk:
        try:
            return Walk.begin(cursor, self._pages)
        except TypeError:
            raise Refused(
                f"the cursor {cursor!r} was kept by another kind of source; land this one "
                "under a new name"
            ) from None

    def _session(self, now: Callable[[], datetime]) -> Session:
        from penstock.sources.session import Session

        return Session(self._target(), self._tls, now)

    def _target(self) -> Target:
        from penstock.sources.session import Target

        url = resolve(self._url)
        if not _is_address(url):
            raise Refused(f"{_end(url)!r} is no address of an API; set http://… or https://…")
        headers = {name: resolve(value) for name, value in self._headers.items()}
        params = {name: resolve(value) for name, value in self._params.items()}
        secrets = [*headers.values(), *params.values(), urlsplit(url).password or ""]
        if self._auth is not None:
            headers["Authorization"] = self._auth.header()
            secrets.extend(self._auth.secrets())
        return Target(url, params, headers, Secrets(secrets), self._timeout, self._max_bytes)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()

    def _following(self, walk: Walk, answer: Answer) -> Walk:
        if isinstance(self._pages, Once):
            return walk.read(1, self._pages)
        count = count_records(answer.body, self.framing.path)
        return walk.unreadable(self._pages) if count is None else walk.read(count, self._pages)


def _landed_cut(walk: Walk, answer: Answer) -> Iterator[Response]:
    if answer.body and walk.cut < _LANDED_CUTS:
        yield Response(answer.body, walk.broke().cursor(), answer.facts, cut_off=True)


def _framing(records: str | None) -> Framing:
    if records is None:
        return Framing()
    if records == ".":
        return Framing(many=True)
    path = tuple(records.split("."))
    require(
        all(path),
        f"records={records!r} is no path: write names joined by dots, as in 'data.items', "
        "or '.' when the body itself is the list",
    )
    return Framing(path=path, many=True)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _end(text: str) -> str:
    """What is no address, without what may be a password or a key in it."""
    return text.rpartition("@")[2].partition("?")[0]
