"""OAuth 2 client credentials (RFC 6749, 4.4): a token that is fetched, kept and renewed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlsplit

import msgspec

from penstock.errors import Refused, Unavailable
from penstock.profile import EnvVar
from penstock.sources.answer import retry_after
from penstock.sources.credentials import Secrets, Text, place, resolve
from penstock.sources.declared import require

if TYPE_CHECKING:
    import httpx

_MARGIN = 30.0
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class OAuth2:
    """Authenticate with a token that a server gives for a client's id and secret.

    The token is kept in memory, renewed 30 seconds before it expires (or at half its time), and
    when the API answers 401 to it, in the middle of pages too. Nothing of it is written or logged.

    Args:
        token_url: Where tokens are given: https, or this machine.
        client_id: The client's name.
        client_secret: Its secret, only by `ps.env(…)`.
        scope: What is asked for, words separated by spaces.
        params: More form fields for the token's request, such as `audience`.
        in_body: Whether id and secret go into the form, for servers that know no Basic.

    Example:
        `auth=ps.OAuth2(url, client_id="me", client_secret=ps.env("SECRET"), scope="read")`
    """

    token_url: Text
    client_id: Text
    client_secret: EnvVar = field(repr=False)
    scope: str | None = None
    params: Mapping[str, Text] = field(default_factory=dict, repr=False)
    in_body: bool = False

    def __post_init__(self) -> None:
        require(
            isinstance(self.client_secret, EnvVar),
            "client_secret= is written in the program, where many can read it; export it as a "
            'variable and write client_secret=ps.env("SECRET")',
        )
        require(
            isinstance(self.token_url, EnvVar) or _is_safe(self.token_url),
            f"token_url={place(str(self.token_url))!r} would send the secret in clear; use https",
        )


class Token(msgspec.Struct):
    """What a token's server answers with; anything else in it is of no use here."""

    access_token: str
    token_type: str
    expires_in: float | str | None = None


class Grant:
    """The token of one source."""

    def __init__(self, declared: OAuth2) -> None:
        self._declared = declared
        self._token = ""
        self._good_until: datetime | None = None

    def drop(self, token: str) -> None:
        """Forget a token that was refused."""
        if token == self._token:
            self._token = ""

    def token(self, client: httpx.Client, now: datetime, secrets: Secrets) -> str:
        """The token, a new one when it is about to expire.

        Args:
            client: Without headers or credentials of its own.
            now: The time.
            secrets: Learns what must not appear in messages.

        Raises:
            Unavailable: The token's server is away or busy.
            Refused: It says no, or its answer holds no token.
        """
        stale = self._good_until is not None and now >= self._good_until
        if not self._token or stale:
            answer = self._asked(client, now, secrets)
            self._token, self._good_until = answer.access_token, _limit(answer, now)
        secrets.add(self._token)
        return self._token

    def _asked(self, client: httpx.Client, now: datetime, secrets: Secrets) -> Token:
        import httpx

        url = resolve(self._declared.token_url)
        if not _is_safe(url):
            raise Refused(f"the token server {place(url)!r} would get the secret in clear")
        form, headers = self._form(secrets)
        try:
            response = client.post(url, data=form, headers=headers)
        except httpx.TransportError as error:
            words = secrets.hide(str(error)) or type(error).__name__
            raise Unavailable(f"the token server {place(url)} does not answer: {words}") from None
        said = f"the token server {place(url)} answered {response.status_code}"
        if response.status_code >= 500 or response.status_code in (408, 429):
            rest = retry_after(response.headers.get("retry-after"), now)
            raise Unavailable(said, retry_after=rest)
        if response.status_code != 200:
            why = " ".join(response.text[:300].split())
            raise Refused(secrets.hide(f"{said}; check id, secret and scope: {why}"))
        return _token(response.content, said)

    def _form(self, secrets: Secrets) -> tuple[dict[str, str], dict[str, str]]:
        name, secret = resolve(self._declared.client_id), self._declared.client_secret.resolve()
        form = {"grant_type": "client_credentials"}
        if self._declared.scope:
            form["scope"] = self._declared.scope
        form |= {key: resolve(value) for key, value in self._declared.params.items()}
        secrets.add(secret)
        if self._declared.in_body:
            return {**form, "client_id": name, "client_secret": secret}, {}
        pair = f"{quote_plus(name)}:{quote_plus(secret)}"
        encoded = base64.b64encode(pair.encode()).decode()
        secrets.add(quote_plus(secret))
        secrets.add(encoded)
        return form, {"Authorization": f"Basic {encoded}"}


def _token(body: bytes, said: str) -> Token:
    try:
        token = msgspec.json.decode(body, type=Token)
    except msgspec.MsgspecError:
        raise Refused(f"{said}, but without access_token and token_type") from None
    if token.token_type.lower() != "bearer" or not token.access_token:
        raise Refused(f"{said} with a token of type {token.token_type!r}; only Bearer is known")
    return token


def _limit(token: Token, now: datetime) -> datetime | None:
    try:
        lasts = float(token.expires_in or 0)
    except ValueError:
        return None
    if not 0 < lasts < float("inf"):
        return None
    return now + timedelta(seconds=min(lasts - min(_MARGIN, lasts / 2), 10**9))


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    return bool(parts.hostname) and (parts.scheme == "https" or local)
