"""Objects of a bucket as files, by obstore."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.filesystems.address import Address, plain_http
from penstock.filesystems.filesystem import Entry, verified
from penstock.profile import redact

if TYPE_CHECKING:
    from obstore import ObjectMeta

_CHUNK = 8 << 20
"""Bytes of a part of a large upload; S3 wants 5 MiB at least."""

_CONNECT = timedelta(seconds=10)
_ANSWER = timedelta(seconds=60)
"""For one request to its answer's last byte: a range that is read, a part that is written."""

_HICCUP = timedelta(seconds=30)
"""After which a request that failed is not sent again: the engine waits and tries again."""

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")

_CURES = {
    "NoSuchBucket": "create the bucket, or correct its name in the URL",
    "InvalidAccessKeyId": "correct the key in the URL or in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct the secret in the URL or in AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the session's credentials",
    "AccessDenied": "allow it to these credentials (list, get, put, delete)",
    "PermanentRedirect": "name the bucket's region in the URL: region=…",
    "AuthorizationHeaderMalformed": "name the bucket's region in the URL: region=…",
    "NotImplemented": "it must know If-None-Match, as S3 does since 2024",
}
_LATER = frozenset({"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"})


class S3Files:
    """Objects below a prefix of a bucket.

    Args:
        address: The bucket, credentials (without: the usual variables `AWS_…`) and options.
    """

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._prefix = f"{address.path}/" if address.path else ""
        self._address = address
        self._made: S3Store | None = None

    def list(self, folder: str = "") -> Iterator[Entry]:
        below = f"{self._prefix}{verified(folder)}/" if folder else self._prefix
        with self._said():
            for page in obstore.list(self._store, below or None):
                yield from map(self._entry, page)

    def stat(self, name: str) -> Entry | None:
        try:
            with self._said():
                return self._entry(obstore.head(self._store, self._key(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        key = self._key(name)
        if size == 0:
            return b""
        with self._said():
            if start == 0 and size is None:
                return bytes(obstore.get(self._store, key).bytes())
            length = obstore.head(self._store, key)["size"]
            end = length if size is None else min(length, start + size)
            if start >= end:
                return b""
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        with self._said():
            obstore.put(self._store, self._key(name), _cut(parts), chunk_size=_CHUNK)

    def create(self, name: str, data: bytes) -> None:
        with self._said():
            obstore.put(self._store, self._key(name), data, mode="create", use_multipart=False)

    def rename(self, name: str, new: str) -> None:
        old, key = self._key(name), self._key(new)
        if self.stat(new) is not None:
            raise FileExistsError(f"{self.url}/{new} is there")
        with self._said():
            obstore.copy(self._store, old, key)
            obstore.delete(self._store, old)

    def delete(self, names: Sequence[str]) -> None:
        keys = [self._key(name) for name in names]
        with self._said():
            if keys:
                obstore.delete(self._store, keys)

    def close(self) -> None:
        self._made = None

    # --- inside ---

    @property
    def _store(self) -> S3Store:
        if self._made is None:
            self._made = _open(self._address)
        return self._made

    def _key(self, name: str) -> str:
        return self._prefix + verified(name)

    def _entry(self, found: ObjectMeta) -> Entry:
        version = found["e_tag"] or f"{found['last_modified'].timestamp()}-{found['size']}"
        name = found["path"].removeprefix(self._prefix)
        return Entry(name, found["size"], version.strip('"'), found["last_modified"])

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError as error:
            raise FileExistsError(_words(error)) from None
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._meaning(error) from None
            raise FileNotFoundError(_words(error)) from None
        except (BaseError, OSError, ValueError) as error:
            raise self._meaning(error) from None

    def _meaning(self, error: Exception) -> PenstockError:
        text = str(error)
        status = int(found[1]) if (found := _STATUS.search(text)) else 0
        code = found[1] if (found := _CODE.search(text)) else ""
        said = f"{self.url}: {_words(error)}"
        if code in _CURES:
            return Refused(f"{said}; {_CURES[code]}")
        if 400 <= status < 500 and status not in {408, 409, 429} and code not in _LATER:
            return Refused(f"{said}; correct the URL or what the bucket allows")
        return Unavailable(said)


def _open(address: Address) -> S3Store:
    given = {
        "access_key_id": address.user,
        "secret_access_key": address.password,
        "session_token": address.options.get("session_token"),
        "region": address.options.get("region"),
        "endpoint": address.options.get("endpoint"),
        "virtual_hosted_style_request": address.options.get("virtual_hosted"),
        "skip_signature": address.options.get("anonymous"),
    }
    config: Any = {name: value for name, value in given.items() if value}
    try:
        return S3Store(
            address.host,
            config=config,
            client_options={
                "allow_http": plain_http(address),
                "connect_timeout": _CONNECT,
                "timeout": _ANSWER,
            },
            retry_config={"max_retries": 3, "retry_timeout": _HICCUP},
        )
    except (BaseError, ValueError) as error:
        raise Refused(
            f"{address.url}: {_words(error)}; give key and secret in the URL or by AWS_…"
        ) from None


def _words(error: Exception) -> str:
    """Give what the server said, on one line and without the library's own trail."""
    text = str(error).partition("Debug source")[0]
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code:
        return f"{code[1]}: {message[1]}" if message else code[1]
    return redact(" ".join(text.split()))


def _cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Cut into pieces that may be sent as they come."""
    for part in parts:
        for at in range(0, len(part), _CHUNK):
            yield part[at : at + _CHUNK]
