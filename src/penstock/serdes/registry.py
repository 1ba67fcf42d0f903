"""A client of schema registries that speak Confluent's protocol."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import httpx

from penstock.errors import ContractError, PenstockError, ProfileError, Refused, Unavailable
from penstock.profile import redact

AVRO, JSON = "AVRO", "JSON"
"""Kinds of schemas, as the protocol calls them."""

NONE = "NONE"
"""The compatibility level at which a registry takes any schema."""

BACKWARD = "BACKWARD"
"""The level of a subject that we begin where the registry would take any schema."""

LEVELS = (
    NONE,
    BACKWARD,
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)

_TIMEOUT = 10.0
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA, _NO_LEVEL = 40401, 40402, 40403, 40408
_OPTIONS = ("ca", "cert", "key", "compatibility")
_MOST_REFERENCES = 100


@dataclass(frozen=True)
class Schema:
    """A schema as a registry holds it.

    Args:
        id: The number that messages carry.
        kind: `AVRO`, `JSON` or `PROTOBUF`.
        text: The schema itself.
        references: Texts of the schemas that it names, in an order in which each can be read.
        version: Its number in its subject, where it was looked up there.
    """

    id: int
    kind: str
    text: str
    references: tuple[str, ...] = ()
    version: int = 0


class Registry:
    """Talks to one registry. Any thread may use it, several at once too.

    Every method raises `Unavailable` when the registry cannot be reached, takes too long or fails:
    the engine waits and calls again. It raises `Refused` when the registry does not let this user
    in, or is none.

    Args:
        url: `http[s]://[user:password@]host[:port]/path[?ca=FILE&cert=FILE&key=FILE]`, and
            `compatibility=LEVEL` for subjects that are begun here.

    Raises:
        ProfileError: The URL is none, or has an option that there is not.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = _options(url)
        self._wanted = options.pop("compatibility", None)
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        self.place = redact(bare)
        self._base = bare.rstrip("/")
        self._login = login if parts.username else None
        self._tls = _tls(self.place, options)

    def schema(self, number: int) -> Schema | None:
        """Look a schema up by its id; None when the registry knows none."""
        found = self._ask("GET", f"schemas/ids/{number}", absent=(_NO_SCHEMA,))
        return None if found is None else self._read(found, number)

    def latest(self, subject: str) -> Schema | None:
        """Look up a subject's newest schema; None when there is none."""
        absent = (_NO_SUBJECT, _NO_VERSION)
        found = self._ask("GET", f"subjects/{_quoted(subject)}/versions/latest", absent=absent)
        return None if found is None else self._read(found, _whole(found, "id", self.place))

    def known(self, subject: str, kind: str, text: str) -> int | None:
        """Tell the id of a schema that is registered under a subject; None when it is not."""
        absent = (_NO_SUBJECT, _NO_VERSION, _NO_SCHEMA)
        found = self._ask("POST", f"subjects/{_quoted(subject)}", _body(kind, text), absent=absent)
        return None if found is None else _whole(found, "id", self.place)

    def register(self, subject: str, kind: str, text: str) -> int:
        """Register a schema under a subject; returns its id, also when it is there already.

        Raises:
            ContractError: It is incompatible with what is registered; the registry's words.
        """
        found = self._ask("POST", f"subjects/{_quoted(subject)}/versions", _body(kind, text))
        return _whole(found, "id", self.place)

    def level(self, subject: str) -> str:
        """Tell which changes of a subject the registry lets through, such as `BACKWARD`."""
        path = f"config/{_quoted(subject)}?defaultToGlobal=true"
        found = self._ask("GET", path, absent=(_NO_SUBJECT, _NO_LEVEL))
        found = found or self._ask("GET", "config")
        return str(_mapping(found, self.place).get("compatibilityLevel", NONE))

    def first_level(self, subject: str) -> str | None:
        """Tell which level `begin` will set; None when there is one already, or a fitting one."""
        if self.latest(subject) or self._ask(
            "GET", f"config/{_quoted(subject)}", absent=(_NO_SUBJECT, _NO_LEVEL)
        ):
            return None
        now = self.level(subject)
        wanted = self._wanted or (BACKWARD if now == NONE else now)
        return None if wanted == now else wanted

    def begin(self, subject: str) -> None:
        """Set the level of a subject that holds nothing yet, so that what is read stays readable.

        That is the level of the URL, or `BACKWARD` where the registry would take anything.
        """
        level = self.first_level(subject)
        if level is None:
            return
        try:
            self._ask("PUT", f"config/{_quoted(subject)}", {"compatibility": level})
        except Refused as error:
            raise Refused(
                f"cannot set the compatibility of {subject!r} to {level}: {error}\nLet somebody "
                "set it who may, or write ?compatibility=LEVEL with the registry's own level into "
                "its URL"
            ) from error

    def breaks(self, subject: str, kind: str, text: str) -> list[str] | None:
        """Ask whether a schema is compatible with a subject's newest one.

        Returns:
            None if it is; else what breaks, in the registry's words, which may be none.
        """
        path = f"compatibility/subjects/{_quoted(subject)}/versions/latest?verbose=true"
        absent = (_NO_SUBJECT, _NO_VERSION)
        found = self._ask("POST", path, _body(kind, text), absent=absent)
        if found is None or _mapping(found, self.place).get("is_compatible", True):
            return None
        return list(map(str, found.get("messages") or ()))

    def forget(self, beginning: str) -> None:
        """Delete the subjects whose names begin so, for good."""
        found = self._ask("GET", "subjects")
        for subject in [name for name in found if str(name).startswith(beginning)]:
            for how in ("", "?permanent=true"):
                self._ask("DELETE", f"subjects/{_quoted(subject)}{how}", absent=(_NO_SUBJECT,))

    # --- one question -----------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        absent: Sequence[int] = (),
    ) -> Any:
        """Ask once; None for an answer whose code says that it is not there."""
        try:
            response = self._send(method, path, body)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise Refused(f"the registry {self.place} cannot be asked: {error}") from None
        except httpx.TransportError as error:
            words = (str(error) or type(error).__name__) + _cure(error)
            raise Unavailable(f"the registry {self.place} does not answer: {words}") from None
        try:
            document = response.json()
        except ValueError:
            document = None
        code = document.get("error_code") if isinstance(document, dict) else None
        if response.status_code == 404 and code in absent:
            return None
        if response.status_code == 200 and document is not None:
            return document
        raise self._error(response, document)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """Ask over a connection of its own: questions are few, and nothing stays open."""
        return httpx.request(
            method,
            f"{self._base}/{path}",
            json=body,
            auth=self._login,
            verify=self._tls,
            timeout=_TIMEOUT,
            headers={"Accept": f"{_MEDIA_TYPE}, application/json", "Content-Type": _MEDIA_TYPE},
        )

    def _error(self, response: httpx.Response, document: Any) -> PenstockError:
        status, where = response.status_code, f"the registry {self.place}"
        said = document.get("message") if isinstance(document, dict) else response.text
        words = redact(" ".join(str(said or "").split()))[:500] or "nothing more"
        if status == 409:
            return ContractError(words)
        if status in (401, 403):
            return Refused(
                f"{where} answers {status}, not allowed: {words}. Put the right user and password "
                "into the profile's registry URL, as http://user:password@host/path"
            )
        if status >= 500 or status in (408, 425, 429) or status == 200:
            wait = response.headers.get("retry-after", "")
            after = float(wait) if wait.isdigit() else None
            return Unavailable(f"{where} answers {status}: {words}", retry_after=after)
        if status == 422:
            return Refused(f"{where} does not take the schema: {words}")
        return Refused(
            f"{where} answers {status} to {response.request.method} {response.request.url.path}: "
            f"{words}. Is this the path of Confluent's protocol? For Apicurio it ends with "
            "/apis/ccompat/v7"
        )

    def _read(self, found: Any, number: int) -> Schema:
        fields = _mapping(found, self.place)
        text = fields.get("schema")
        if not isinstance(text, str):
            raise Unavailable(f"the registry {self.place} answers without a schema to id {number}")
        references: dict[tuple[str, int], str] = {}
        self._refer(fields, references)
        kind = str(fields.get("schemaType") or AVRO)
        version = fields.get("version")
        return Schema(
            number,
            kind,
            text,
            tuple(references.values()),
            version if isinstance(version, int) else 0,
        )

    def _refer(self, fields: Mapping[str, Any], found: dict[tuple[str, int], str]) -> None:
        """Look up what a schema names, the innermost first."""
        for reference in fields.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in found or len(found) >= _MOST_REFERENCES:
                continue
            path = f"subjects/{_quoted(subject)}/versions/{version}"
            inner = _mapping(self._ask("GET", path), self.place)
            self._refer(inner, found)
            found[subject, version] = str(inner.get("schema"))


def _options(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ProfileError(
            f"the registry {redact(url)!r} is no URL of one; write http://host:port/path"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if strange := sorted(options.keys() - set(_OPTIONS)):
        known = ", ".join(_OPTIONS)
        raise ProfileError(f"the registry's URL has no option {strange[0]!r}; it has {known}")
    level = options.get("compatibility", NONE)
    if level not in LEVELS:
        known = ", ".join(LEVELS)
        raise ProfileError(f"the registry's URL has compatibility={level}; there are {known}")
    return options


def _tls(place: str, options: Mapping[str, str]) -> ssl.SSLContext | bool:
    if not options:
        return True
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
    except (OSError, ssl.SSLError) as error:
        raise ProfileError(
            f"the registry {place}: its ca, cert or key cannot be read: {error}"
        ) from None
    return context


def _cure(error: Exception) -> str:
    if "CERTIFICATE" not in str(error).upper():
        return ""
    return (
        ". Name who signed its certificate in the profile's registry URL, as https://…?ca=FILE, or "
        "renew the certificate; with cert=FILE&key=FILE it is shown one of yours"
    )


def _body(kind: str, text: str) -> dict[str, str]:
    return {"schema": text} if kind == AVRO else {"schema": text, "schemaType": kind}


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _mapping(found: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise Unavailable(f"the registry {place} answers {str(found)[:80]!r}, which is no answer")
    return found


def _whole(found: Any, name: str, place: str) -> int:
    number = _mapping(found, place).get(name)
    if not isinstance(number, int):
        raise Unavailable(f"the registry {place} answers without {name!r}: {str(found)[:80]!r}")
    return number
