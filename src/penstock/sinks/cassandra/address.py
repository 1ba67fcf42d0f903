"""What a store's URL says: where Cassandra is, who we are there, and how to write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from penstock.errors import ProfileError
from penstock.profile import redact

DEFAULT_PORT = 9042

_FORM = (
    "cassandra://[user:password@]host[:port][,host…]/keyspace[?consistency=…&replication=…"
    "&datacenter=…&tls=true&ca=FILE&cert=FILE&key=FILE]"
)
_URL = re.compile(
    r"cassandra://(?:(?P<user>[^:/?#@]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<hosts>[^@/?#]+)(?:/(?P<keyspace>[^?#]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"\w{1,48}", re.ASCII)
_OPTIONS = ("consistency", "replication", "datacenter", "tls", "ca", "cert", "key")
_FILES = ("ca", "cert", "key")

CONSISTENCIES = (
    "ONE",
    "TWO",
    "THREE",
    "QUORUM",
    "ALL",
    "LOCAL_QUORUM",
    "LOCAL_ONE",
)


@dataclass(frozen=True)
class Address:
    """A store's URL, taken apart.

    Args:
        url: The URL, redacted.
        points: Contact points: host and port each.
        keyspace: The keyspace.
        user: Who logs in; empty for nobody.
        password: Their password.
        consistency: Of writes and reads.
        replication: How a keyspace is created that is not there; None makes one copy on a cluster
            of one node, and nothing on a larger one.
        datacenter: The one whose nodes are written to; None is that of the contact points.
        tls: Whether connections are encrypted and the server's certificate verified.
        ca: Who signed that certificate; None trusts what the machine trusts.
        cert: Our own certificate.
        key: Its key.
    """

    url: str
    points: tuple[tuple[str, int], ...]
    keyspace: str
    user: str = ""
    password: str = field(default="", repr=False)
    consistency: str = "LOCAL_QUORUM"
    replication: Mapping[str, str] | None = None
    datacenter: str | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None


def read(url: str) -> Address:
    """Read a URL.

    Raises:
        ProfileError: It is no such URL, or has an option that there is not.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ProfileError(f"{redact(url)!r} is no URL of Cassandra; write {_FORM}")
    shown = redact(url)
    options = _options(shown, match["query"] or "")
    return Address(
        url=shown,
        points=tuple(_point(shown, host) for host in match["hosts"].split(",")),
        keyspace=_keyspace(shown, unquote(match["keyspace"] or "")),
        user=unquote(match["user"] or ""),
        password=unquote(match["password"] or ""),
        consistency=_consistency(shown, options),
        replication=_replication(shown, options.get("replication")),
        datacenter=options.get("datacenter"),
        tls=_tls(shown, options),
        **{name: options.get(name) for name in _FILES},
    )


def _options(shown: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := [name for name in options if name not in _OPTIONS]:
        known = ", ".join(_OPTIONS)
        raise ProfileError(f"{shown}: there is no option {unknown[0]!r}; there are {known}")
    if len(options) < len(pairs):
        raise ProfileError(f"{shown}: an option is given twice; keep one")
    return options


def _point(shown: str, host: str) -> tuple[str, int]:
    match = _HOST.fullmatch(host)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise ProfileError(f"{shown}: {host!r} is no host; write host, host:port or [::1]:port")
    return match["six"] or match["name"], port


def _keyspace(shown: str, name: str) -> str:
    if not name:
        raise ProfileError(f"{shown} names no keyspace; write {_FORM}")
    if not _NAME.fullmatch(name):
        raise ProfileError(
            f"{shown}: Cassandra cannot have a keyspace {name!r}; its names are 1 to 48 letters, "
            "digits and underscores"
        )
    return name


def _consistency(shown: str, options: Mapping[str, str]) -> str:
    level = options.get("consistency", Address.consistency).upper()
    if level not in CONSISTENCIES:
        known = ", ".join(CONSISTENCIES)
        raise ProfileError(f"{shown}: there is no consistency {level!r} to write at; use {known}")
    return level


def _replication(shown: str, text: str | None) -> Mapping[str, str] | None:
    """Read `3`, or `east:3,west:2`."""
    if text is None:
        return None
    parts = [part.rpartition(":") for part in text.split(",")]
    copies = {name or "replication_factor": number for name, _, number in parts}
    named = [bool(name) for name, _, _ in parts]
    sound = all(re.fullmatch(r"[1-9]\d?", number) for number in copies.values())
    if not sound or len(copies) < len(parts) or (len(parts) > 1 and not all(named)):
        raise ProfileError(
            f"{shown}: replication is a number of copies, such as 3, or one for each datacenter, "
            f"such as east:3,west:2; it is {text!r}"
        )
    return {"class": "NetworkTopologyStrategy", **copies}


def _tls(shown: str, options: Mapping[str, str]) -> bool:
    value = options.get("tls", "false")
    if value not in ("true", "false"):
        raise ProfileError(f"{shown}: tls is true or false, not {value!r}")
    files = [name for name in _FILES if name in options]
    if files and value == "false":
        raise ProfileError(f"{shown} has {files[0]}= without tls=true; add it, or remove the file")
    if ("cert" in options) != ("key" in options):
        raise ProfileError(f"{shown} needs cert= and key= together: a certificate and its key")
    return value == "true"
