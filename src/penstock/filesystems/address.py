"""What a URL says about where files are, and with which credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from penstock.errors import ProfileError
from penstock.profile import redact

FORMS = {
    "file": "file:///folder",
    "s3": "s3://[key:secret@]bucket[/prefix][?region=…&endpoint=…&allow_http=true]",
    "hdfs": "hdfs://host:port/folder",
}
_OPTIONS = {
    "file": (),
    "s3": ("region", "endpoint", "allow_http", "anonymous", "session_token", "virtual_hosted"),
    "hdfs": ("replication", "block_size"),
}
_FLAGS = ("allow_http", "anonymous", "virtual_hosted")
_NUMBERS = ("replication", "block_size")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True)
class Address:
    """A URL of files, taken apart.

    Args:
        scheme: `file`, `s3` or `hdfs`.
        url: For messages: redacted.
        host: The bucket, or host and port of HDFS.
        path: The folder; for S3 without slashes at its ends, else absolute.
        user: The access key, or empty.
        password: The secret key.
        options: What stands after `?`.
    """

    scheme: str
    url: str
    host: str
    path: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def flag(self, name: str) -> bool:
        """Whether an option is set to true."""
        return self.options.get(name) == "true"


def read(url: str) -> Address:
    """Read a URL.

    Raises:
        ProfileError: It is no URL of files, or has an option that there is not.
    """
    shown = redact(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ProfileError(f"{shown} is no URL: {error}") from None
    if parts.scheme not in FORMS:
        raise ProfileError(f"{shown} is no URL of files; write {' or '.join(FORMS.values())}")
    path = unquote(parts.path)
    found = Address(
        scheme=parts.scheme,
        url=shown.partition("?")[0].rstrip("/"),
        host=parts.netloc.rpartition("@")[2],
        path=path.strip("/") if parts.scheme == "s3" else path,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        options=_options(shown, parts.scheme, parts.query),
    )
    _verify(found, shown, port)
    return found


def _options(shown: str, scheme: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    for name, value in pairs:
        if name not in _OPTIONS[scheme]:
            known = ", ".join(_OPTIONS[scheme]) or "none"
            raise ProfileError(f"{shown}: there is no option {name!r}; there are {known}")
        if name in _FLAGS and value not in {"true", "false"}:
            raise ProfileError(f"{shown}: {name} is true or false, not {value!r}")
        if name in _NUMBERS and not re.fullmatch(r"[1-9]\d*", value):
            raise ProfileError(f"{shown}: {name} is a positive number, not {value!r}")
    if len(options) < len(pairs):
        raise ProfileError(f"{shown}: an option is given twice; keep one")
    return options


def _verify(found: Address, shown: str, port: int | None) -> None:
    form = FORMS[found.scheme]
    absolute = found.path.startswith("/")
    if found.scheme == "file" and (found.host not in {"", "localhost"} or not absolute):
        raise ProfileError(f"{shown} names no folder of this machine; write {form}")
    if found.scheme == "hdfs" and (port is None or found.user):
        raise ProfileError(
            f"{shown} does not say where HDFS is; write {form} (who you are there, say by "
            "HADOOP_USER_NAME or Kerberos)"
        )
    if any(part in {".", ".."} for part in found.path.split("/")):
        raise ProfileError(f"{shown}: a folder's name is not '.' or '..'; write the whole path")
    if found.scheme == "s3":
        _verify_s3(found, shown, form)


def _verify_s3(found: Address, shown: str, form: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", found.host):
        raise ProfileError(f"{shown}: {found.host!r} is no bucket; write {form}")
    if bool(found.user) != bool(found.password):
        raise ProfileError(f"{shown} needs key and secret together; write {form}")
    endpoint = urlsplit(found.options.get("endpoint", "https://"))
    if endpoint.scheme not in {"http", "https"}:
        raise ProfileError(f"{shown}: endpoint is a URL of https or http")
    if endpoint.scheme == "http" and not plain_http(found):
        raise ProfileError(
            f"{shown}: over http, keys and rows can be read on the way to {endpoint.hostname}; use "
            "https, or say allow_http=true"
        )


def plain_http(found: Address) -> bool:
    """Whether no TLS is accepted: asked for, or nothing leaves this machine."""
    endpoint = urlsplit(found.options.get("endpoint", "https://"))
    local = bool(_LOOPBACK.fullmatch(endpoint.hostname or ""))
    return found.flag("allow_http") or (endpoint.scheme == "http" and local)
