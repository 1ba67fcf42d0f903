"""The `Http` source: polls an API and yields its answers as they come.

Guarantee: each answer is landed exactly as it came, unpacked if it was sent compressed. Whether a
record comes once or again depends on the API: see `Pages`, `Offsets`, `Cursors`, `Links`, `Since`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock.errors import ProfileError, Refused
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.profile import EnvVar
from penstock.sources.credentials import Auth, Secrets, Text, place, resolve
from penstock.sources.declared import require, seconds
from penstock.sources.oauth2 import Grant, OAuth2
from penstock.sources.pace import Pace
from penstock.sources.pagination import Once, Pagination
from penstock.sources.polling import Poll, Standing, Way, asked, begun
from penstock.sources.since import Bounds, Since
from penstock.sources.walk import Walk

if TYPE_CHECKING:
    import ssl

    from penstock.sources.session import Session, Target

_MEGABYTE = 1024 * 1024


class Http:
    """Poll an HTTP API.

    The framework repeats what fails: an address that does not answer, a time-out, 408, 425, 429
    and 5xx are waited for with backoff, at least as long as `Retry-After` asks; any other 4xx is
    final. A body that breaks off is landed as far as it came (a dead letter; three times at most
    in a row) and asked for again. An answer that is no JSON, or lacks the path, is landed as it
    is; while paginating, its place is asked for three times and then passed over. Redirects are
    followed, with credentials or headers to the same host only.

    A poll whose first request is the one that the last poll ended with says by `If-None-Match` or
    `If-Modified-Since` what it has; when the API answers 304, nothing is landed.

    Args:
        url: The address; its query is kept. A variable is read when the source is opened.
        records: Where the records lie in the body: names joined by dots (`"data.items"`), `"."`
            when the body itself is the list, None when the body is one record.
        every: Seconds (or `"1m"`) from the end of one poll to the next; None to poll once.
        pages: `Pages(…)`, `Offsets(…)`, `Cursors(…)` or `Links(…)`; None when a poll is one
            request.
        since: `Since(…)`, to ask only for what came since the last poll.
        params: Query parameters to add.
        headers: Header fields to send; their values are treated as secrets.
        auth: `Bearer(…)`, `Basic(…)` or `OAuth2(…)`.
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
        since: Since | None = None,
        params: Mapping[str, Text] | None = None,
        headers: Mapping[str, Text] | None = None,
        auth: Auth | OAuth2 | None = None,
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
        require(
            since is None or pages is None or not pages.growing,
            "since= begins each poll at its bound, and growing=True where the last one ended: "
            "leave one of them out",
        )
        self.framing = _framing(records)
        self.every = None if every is None else seconds(every, "every")
        self._url = url
        self._way = Way(self.framing, pages or Once(), since)
        self._params, self._headers = dict(params or {}), dict(headers or {})
        self._auth = auth
        self._grant = Grant(auth) if isinstance(auth, OAuth2) else None
        self._timeout = seconds(timeout, "timeout")
        self._max_bytes = max_bytes
        self._pace = None if rate is None else Pace(rate)

    def describe(self) -> str:
        try:
            return place(resolve(self._url))
        except ProfileError as error:
            return str(error)

    def check(self) -> None:
        now = datetime.now(UTC)
        bounds = None if self._way.since is None else Bounds(self._way.since.start)
        start = Standing(Walk(self._way.pages.first), bounds)
        with self._session(lambda: now) as session:
            session.ask(asked(begun(start, self._way, now) or start, self._way)).close()

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        with self._session(clock.now) as session:
            yield from Poll(self._way, session, clock, self._pace).run(cursor)

    def between(self, start: str, end: str) -> Http:
        """The same source, for the records of a range only, in one poll.

        Args:
            start: The first bound that is in it.
            end: The first bound that is not.

        Raises:
            Refused: The source takes no ranges, or these are no bounds.
        """
        if self._way.since is None:
            raise Refused(
                f"{self.describe()} cannot be asked for a range; say how with since=ps.Since(…)"
            )
        bounded = copy.copy(self)
        bounded.every = None
        bounded._way = replace(self._way, limits=self._way.since.checked(start, end))
        return bounded

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
        credentials = {k: params[k] for k, v in self._params.items() if isinstance(v, EnvVar)}
        secrets = Secrets([*headers.values(), *params.values(), urlsplit(url).password or ""])
        if self._auth is not None and not isinstance(self._auth, OAuth2):
            headers["Authorization"] = self._auth.header()
            for secret in self._auth.secrets():
                secrets.add(secret)
        limits = (self._timeout, self._max_bytes)
        return Target(url, params, headers, secrets, *limits, credentials, self._grant)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()


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
