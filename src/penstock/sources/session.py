"""The requests of one poll: send, follow redirects, judge the answer, read its body."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import httpx

from penstock.errors import Refused, Unavailable
from penstock.sources.answer import Denied, judge
from penstock.sources.credentials import Secrets, place
from penstock.sources.encodings import ACCEPTED, BadBody, unpack
from penstock.sources.oauth2 import Grant
from penstock.sources.pagination import Ask

if TYPE_CHECKING:
    import ssl

_REDIRECTS = 5
_UNCHANGED = 304
_UNAUTHORIZED = 401


@dataclass(frozen=True)
class Target:
    """What every request of a source has in common, variables filled in.

    Args:
        url: The source's address.
        params: Query parameters.
        headers: Header fields.
        secrets: What must not appear in messages.
        timeout: Seconds.
        max_bytes: Of a body, unpacked.
        credentials: Those of the parameters that came from the environment: they go with every
            request, and are not kept in a cursor.
        grant: The token of OAuth2, if that is how the source authenticates.
    """

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    secrets: Secrets
    timeout: float
    max_bytes: int
    credentials: Mapping[str, str] = field(default_factory=dict)
    grant: Grant | None = None

    @property
    def confidential(self) -> bool:
        """Whether requests hold anything that is for the source's own host only."""
        known = self.headers or self.credentials or self.grant or urlsplit(self.url).username
        return bool(known)


@dataclass(frozen=True)
class Answer:
    """A body as far as it came, and what is known of it.

    Args:
        body: The bytes, unpacked.
        facts: What is worth keeping.
        broken: Why it broke off; empty: it did not.
        headers: Of the answer.
        url: The address that answered, after redirects.
        credentials: What was sent as query parameters, not to be kept.
        unchanged: Whether the API said that nothing has changed; then there is no body.
    """

    body: bytes
    facts: Mapping[str, str] = field(default_factory=dict)
    broken: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    credentials: Mapping[str, str] = field(default_factory=dict)
    unchanged: bool = False


class Session:
    """One connection pool for the requests of a poll; use it in a `with` statement."""

    def __init__(self, target: Target, tls: ssl.SSLContext, now: Callable[[], datetime]) -> None:
        self._target = target
        self._now = now
        self._bare = httpx.Client(verify=tls, timeout=target.timeout)
        headers = {"Accept-Encoding": ACCEPTED, **target.headers}
        self._client = httpx.Client(verify=tls, timeout=target.timeout, headers=headers)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._bare.close()

    def place(self, ask: Ask) -> str:
        """What a request asked for, for people."""
        linked = parse_qsl(urlsplit(ask.url).query) if ask.url else []
        asked = "&".join(f"{name}={value}" for name, value in [*linked, *ask.query.items()])
        address = place(ask.url or self._target.url)
        return f"{address}?{asked}" if asked else address

    def fingerprint(self, ask: Ask) -> str:
        """What tells a request from others, without saying what it is."""
        return hashlib.blake2b(str(self._address(ask)).encode(), digest_size=8).hexdigest()

    def fetch(self, ask: Ask) -> Answer:
        """Ask and read the whole body; raises as `ask` does, and `Refused` when it is too large."""
        response = self.ask(ask)
        if response.status_code == _UNCHANGED:
            response.close()
            return Answer(b"", unchanged=True)
        facts = {"status": str(response.status_code), "url": self.place(ask)}
        if "content-type" in response.headers:
            facts["content-type"] = response.headers["content-type"]
        body = io.BytesIO()
        broken = ""
        try:
            encoding = response.headers.get("content-encoding", "")
            for chunk in unpack(response.iter_raw(), encoding):
                body.write(chunk)
                self._check_size(body.tell(), ask)
        except (httpx.TransportError, BadBody) as error:
            broken = self._words(error)
        finally:
            response.close()
        return Answer(
            body.getvalue(),
            facts,
            broken,
            response.headers,
            str(response.url),
            self._target.credentials,
        )

    def ask(self, ask: Ask) -> httpx.Response:
        """Send a request, follow redirects, and judge the answer; its body is still to be read.

        Raises:
            Unavailable: Nobody answers, or the answer is to come later.
            Refused: The answer is a final no; `Denied` tells its status.
        """
        where = self.place(ask)
        response = self._authorized(ask, where)
        if ask.headers and response.status_code == _UNCHANGED:
            return response
        error = judge(response, where, self._now())
        if error is None:
            return response
        response.close()
        if isinstance(error, Denied):
            raise Denied(self._target.secrets.hide(str(error)), error.status)
        raise error

    def _authorized(self, ask: Ask, where: str) -> httpx.Response:
        """Send a request with a token, if there are tokens; once more when it is worth no more."""
        grant = self._target.grant
        if grant is None:
            return self._send(self._request(ask, where), where)
        for again in (True, False):
            token = grant.token(self._bare, self._now(), self._target.secrets)
            request = self._request(ask, where)
            request.headers["Authorization"] = f"Bearer {token}"
            response = self._send(request, where)
            if response.status_code != _UNAUTHORIZED:
                break
            grant.drop(token)
            if again:
                response.close()
        return response

    def _request(self, ask: Ask, where: str) -> httpx.Request:
        if ask.url is not None:
            self._check_elsewhere(httpx.URL(self._target.url), httpx.URL(ask.url), where)
        return self._client.build_request("GET", self._address(ask), headers=ask.headers)

    def _address(self, ask: Ask) -> httpx.URL:
        own = httpx.URL(self._target.url)
        if ask.url is None:
            return own.copy_merge_params({**self._target.params, **ask.query})
        url = httpx.URL(ask.url)
        missing = {k: v for k, v in self._target.credentials.items() if k not in url.params}
        if own.userinfo:
            url = url.copy_with(username=own.username, password=own.password)
        return url.copy_merge_params({**missing, **ask.query}) if missing or ask.query else url

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
            self._check_elsewhere(request.url, response.next_request.url, where)
            request = response.next_request
        raise Refused(f"{where} redirects more than {_REDIRECTS} times; ask where it leads to")

    def _check_elsewhere(self, here: httpx.URL, there: httpx.URL, where: str) -> None:
        """Credentials go to the host that they were given for, and never from TLS to plain."""
        downgrade = here.scheme == "https" and there.scheme != "https"
        elsewhere = here.host != there.host or (
            here.scheme == there.scheme and here.port != there.port
        )
        if self._target.confidential and (downgrade or elsewhere):
            raise Refused(
                f"{where} leads to {there.scheme}://{there.netloc.decode()}, where credentials "
                "and headers are not sent; if that is right, write that address in the program"
            )

    def _check_size(self, size: int, ask: Ask) -> None:
        if size > self._target.max_bytes:
            raise Refused(
                f"{self.place(ask)} answered with more than {self._target.max_bytes:,} bytes; "
                "ask for less at once (see pages=), or raise max_bytes="
            )

    def _words(self, error: Exception) -> str:
        return self._target.secrets.hide(str(error)) or type(error).__name__
