"""Reads `kafka://` URLs: where the brokers are, and how to speak to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock.errors import ProfileError
from penstock.profile import redact

PORT = 9092
"""Where brokers listen, unless told otherwise."""

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
COMPRESSIONS = ("lz4", "zstd", "snappy", "gzip", "none")
_TRUTHS = {"true": True, "false": False}
_FILES = {
    "ca": "ssl.ca.location",
    "cert": "ssl.certificate.location",
    "key": "ssl.key.location",
}


@dataclass(frozen=True)
class Address:
    """What a `kafka://` URL says.

    Args:
        words: The cluster, for messages: no secrets.
        settings: Of any client of librdkafka; hold the password, never print them.
        replication: How many copies a new topic's records have; None leaves it to the brokers.
        compression: How records are packed that Penstock writes.
    """

    words: str
    settings: Mapping[str, str | int | bool] = field(repr=False)
    replication: int | None = None
    compression: str = "lz4"


@cache
def read(url: str) -> Address:
    """Read `kafka://[user:password@]host[:port][,host…][?option=value&…]`.

    Options: `tls`, `ca`, `cert`, `key`, `sasl`, `replication`, `compression`. A user without
    `sasl` logs in by PLAIN.

    Raises:
        ProfileError: The URL is none, or an option is unknown, wrong or contradicts another.
    """
    return _Reader(url).address()


class _Reader:
    def __init__(self, url: str) -> None:
        self._url = url
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise self._wrong(f"is no URL: {error}") from None
        login, at, self._places = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        self._login = (unquote(user), unquote(password)) if at else None
        if parts.path.strip("/"):
            raise self._wrong(f"has a path {parts.path!r}; write kafka://host:port[,host:port…]")
        self._options: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _OPTIONS:
                known = ", ".join(_OPTIONS)
                raise self._wrong(f"has an unknown option {name!r}; there are {known}")
            if name in self._options:
                raise self._wrong(f"has the option {name!r} twice")
            self._options[name] = value

    def address(self) -> Address:
        servers = self._servers()
        tls = self._one_of("tls", _TRUTHS, "false") == "true"
        settings: dict[str, str | int | bool] = {"bootstrap.servers": servers}
        settings["security.protocol"] = ("sasl_" if self._login else "") + (
            "ssl" if tls else "plaintext"
        )
        settings.update(self._files(tls=tls))
        settings.update(self._sasl())
        return Address(
            f"Kafka at {servers}",
            settings,
            self._replication(),
            self._one_of("compression", COMPRESSIONS, "lz4"),
        )

    def _servers(self) -> str:
        places = [place.strip() for place in self._places.split(",")]
        return ",".join(map(self._place, places))

    def _place(self, place: str) -> str:
        host, colon, port = place.rpartition(":")
        if not colon or place.endswith("]"):
            host, port = place, str(PORT)
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise self._wrong(f"names no broker by {place!r}; write host:port")
        return f"{host}:{port}"

    def _files(self, *, tls: bool) -> dict[str, str]:
        given = {name: self._options[name] for name in _FILES if name in self._options}
        if given and not tls:
            raise self._wrong(f"has {sorted(given)[0]!r} without tls=true; add it")
        if ("cert" in given) != ("key" in given):
            raise self._wrong("needs both cert= and key= for a client certificate")
        for name, file in given.items():
            if not Path(file).is_file():
                raise self._wrong(f"names {name}={file}, and there is no such file")
        return {_FILES[name]: file for name, file in given.items()}

    def _sasl(self) -> dict[str, str]:
        if self._login is None:
            if "sasl" in self._options:
                raise self._wrong("has sasl= without a user; write kafka://user:password@host:port")
            return {}
        user, password = self._login
        if not user or not password:
            raise self._wrong("needs a user and a password; write kafka://user:password@host:port")
        mechanism = self._one_of("sasl", MECHANISMS, MECHANISMS[0])
        return {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}

    def _replication(self) -> int | None:
        text = self._options.get("replication")
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 15:
            raise self._wrong(f"has replication={text}; write a number of copies, such as 3")
        return int(text)

    def _one_of(self, name: str, choices: tuple[str, ...] | dict[str, bool], default: str) -> str:
        value = self._options.get(name, default)
        if value not in choices:
            raise self._wrong(f"has {name}={value}; there are {', '.join(choices)}")
        return value

    def _wrong(self, what: str) -> ProfileError:
        return ProfileError(f"{redact(self._url)} {what}")


_OPTIONS = ("tls", *_FILES, "sasl", "replication", "compression")
