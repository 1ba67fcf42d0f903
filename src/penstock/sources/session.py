"""The requests of one poll: send, follow redirects, judge the answer, read its body."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import httpx

from penstock.errors import Refused, Unavailable
from penstock.sources.answer import judge
from penstock.sources.credentials import Secrets, place

if TYPE_CHECKING:
    import ssl

_REDIRECTS = 5


@dataclass(frozen=True)
class Target:
    """What every request of a source has in common, variables filled in."""

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    secrets: Secrets
    timeout: float
    max_bytes: int


@dataclass(frozen=True)
class Answer:
    """A body as far as it came, facts worth keeping, and why it broke off (empty: it did not)."""

    body: bytes
    facts: Mapping[str, str] = field(default_factory=dict)
    broken: str = ""


class Session:
    """One connection pool for the requests of a poll; use it in a `with` statement."""

    def __init__(self, target: Target, tls: ssl.SSLContext, now: Callable[[], datetime]) -> None:
        self._target = target
        self._now = now
        self._client = httpx.Client(verify=tls, timeout=target.timeout, headers=target.headers)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def place(self, query: Mapping[str, str]) -> str:
        """What a request with this query asked for, for people."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        address = place(self._target.url)
        return f"{address}?{asked}" if asked else address

    def fetch(self, query: Mapping[str, str]) -> Answer:
        """Ask and read the whole body; raises as `ask` does, and `Refused` when it is too large."""
        response = self.ask(query)
        facts = {"status": str(response.status_code), "url": self.place(query)}
        if "content-type" in response.headers:
            facts["content-type"] = response.headers["content-type"]
        body = io.BytesIO()
        try:
            for chunk in response.iter_bytes():
                body.write(chunk)
                self._check_size(body.tell(), query)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Answer(body.getvalue(), facts, self._words(error))
        finally:
            response.close()
        return Answer(body.getvalue(), facts)

    def ask(self, query: Mapping[str, str]) -> httpx.Response:
        """Send a request, follow redirects, and judge the answer; its body is still to be read.

        Raises:
            Unavailable: Nobody answers, or the answer is to come later.
            Refused: The answer is a final no.
        """
        where = self.place(query)
        response = self._send(self._request(query), where)
        error = judge(response, where, self._now())
        if error is None:
            return response
        response.close()
        if isinstance(error, Unavailable):
            raise error
        raise Refused(self._target.secrets.hide(str(error)))

    def _request(self, query: Mapping[str, str]) -> httpx.Request:
        url = httpx.URL(self._target.url).copy_merge_params({**self._target.params, **query})
        return self._client.build_request("GET", url)

    def _send(self, request: httpx.Request, where: str) -> httpx.Response:
        for _ in range(_REDIRECTS):
            try:
                response = self._client.send(request, stream=True)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise Refused(f"{where} cannot be asked: {self._words(error)}") from None
            except httpx.TransportError as error:
                raise Unavailable(f"{where} does not answer: {self._words(error)}") from None
            if response.next_request is None:
                return response
            response.close()
            self._check_redirect(request.url, response.next_request.url, where)
            request = response.next_request
        raise Refused(f"{where} redirects more than {_REDIRECTS} times; ask where it leads to")

    def _check_redirect(self, here: httpx.URL, there: httpx.URL, where: str) -> None:
        """Credentials go to the host that they were given for, and never from TLS to plain."""
        downgrade = here.scheme == "https" and there.scheme != "https"
        elsewhere = here.host != there.host or (
            here.scheme == there.scheme and here.port != there.port
        )
        if self._target.headers and (downgrade or elsewhere):
            raise Refused(
                f"{where} redirects to {there.scheme}://{there.netloc.decode()}, where credentials "
                "and headers are not sent; if that is right, write that address in the program"
            )

    def _check_size(self, size: int, query: Mapping[str, str]) -> None:
        if size > self._target.max_bytes:
            raise Refused(
                f"{self.place(query)} answered with more than {self._target.max_bytes:,} bytes; "
                "ask for less at once (see pages=), or raise max_bytes="
            )

    def _words(self, error: Exception) -> str:
        return self._target.secrets.hide(str(error)) or type(error).__name__
