"""Fetch files of a Maven repository: in parallel, resumed where it broke off, verified.

A file comes into being beside its place as `NAME.part`, which is locked while somebody writes it
and stays when they are killed. Whoever comes next goes on where it ends. Only a file with the right
SHA-256 is renamed to its place, so what is there can be used by anybody without a lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx

from penstock.errors import ProfileError, Refused, Unavailable
from penstock.profile import redact
from penstock.services.artifacts.lock import Artifact
from penstock.services.artifacts.progress import Display, megabytes

_AT_ONCE = 8
_ENOUGH = 1 << 20
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """How long to put up with what.

    Args:
        tries: How often a file is tried when hardly anything of it came.
        pause: Seconds before the second try; doubled for each further one.
        silence: Seconds to wait for a connection or the next bytes, and for another process that
            fetches the same file to get on with it.
        slowest: Bytes that must come in as many seconds as `silence` has.
        whole: Seconds for everything.
    """

    tries: int = 5
    pause: float = 0.3
    silence: float = 20.0
    slowest: int = 32 << 10
    whole: float = 3600.0


class _Again(Exception):
    """This try came to nothing; another may."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = min(after, 30.0)


@dataclass(frozen=True)
class Fetch:
    """One fetch into a folder.

    Args:
        base: The repository's URL.
        folder: Where files go, in the layout of a repository.
        display: Shows how far it is.
        patience: With what is slow or breaks.
    """

    base: str
    folder: Path
    display: Display
    patience: Patience = field(default_factory=Patience)

    def all(self, artifacts: Iterable[Artifact]) -> None:
        """Fetch files; those that other processes fetch meanwhile are left to them.

        Raises:
            Unavailable: The repository cannot be reached, or breaks off again and again.
            Refused: It does not have a file, or has another one than the lock says.
            OSError: The folder cannot be written.
        """
        try:
            asyncio.run(self._all(sorted(artifacts, key=lambda a: -a.size)))
        except TimeoutError:
            raise Unavailable(
                f"{redact(self.base)} is too slow: not everything came in {self.patience.whole:.0f}"
                " s. What came is kept; run it again to go on"
            ) from None
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _all(self, artifacts: list[Artifact]) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)
        whole = asyncio.timeout(self.patience.whole)
        async with whole, _client(self.patience) as client, asyncio.TaskGroup() as tasks:
            for artifact in artifacts:
                tasks.create_task(self._one(client, artifact, limit))

    async def _one(
        self, client: httpx.AsyncClient, artifact: Artifact, limit: asyncio.Semaphore
    ) -> None:
        file = self.folder / artifact.path
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        async with limit, self._locked(part) as opened:
            if await asyncio.to_thread(is_sound, file, artifact):
                part.unlink()
                self.display.advance(artifact.size)
                return
            self.display.advance(opened.seek(0, os.SEEK_END))
            await self._sound(client, artifact, opened)
            part.rename(file)

    @asynccontextmanager
    async def _locked(self, part: Path) -> AsyncIterator[BinaryIO]:
        """Wait until nobody else writes the part; a process that was killed does not."""
        patience = time.monotonic() + self.patience.silence
        size = -1
        while True:
            with part.open("ab+", buffering=0) as opened:
                if _lock(opened) and _is_at(opened, part):
                    yield opened
                    return
                before, size = size, _size(opened)
            if size != before:
                patience = time.monotonic() + self.patience.silence
            if time.monotonic() > patience:
                raise Unavailable(
                    f"another process fetches {part.name.removesuffix('.part')} but has not got on "
                    f"with it for {self.patience.silence:.0f} s; look for a stopped penstock"
                )
            await asyncio.sleep(0.05)

    async def _sound(self, client: httpx.AsyncClient, artifact: Artifact, part: BinaryIO) -> None:
        # What an earlier process left may be bad, so there is a second chance, from the start.
        for _ in range(2):
            await self._whole(client, artifact, part)
            found, size = await asyncio.to_thread(digest, Path(part.name)), _size(part)
            if found == artifact.sha256:
                return
            self._empty(part)
        raise Refused(
            f"{self._url(artifact)} is not the file it must be: expected SHA-256 "
            f"{artifact.sha256} and {artifact.size} bytes, found {found} and {size}. It was not "
            "kept. Look at what stands between you and the repository: a proxy, or a mirror"
        )

    async def _whole(self, client: httpx.AsyncClient, artifact: Artifact, part: BinaryIO) -> None:
        failures = 0
        while True:
            before = _size(part)
            try:
                return await self._rest(client, artifact, part)
            except (_Again, httpx.RequestError) as error:
                failures = 1 if _size(part) - before > _ENOUGH else failures + 1
                if failures >= self.patience.tries or _UNTRUSTED in str(error):
                    what = _explained(error)
                    raise Unavailable(f"{self._url(artifact)} cannot be fetched: {what}") from error
                pause = self.patience.pause * 2 ** (failures - 1)
                await asyncio.sleep(max(pause, getattr(error, "after", 0.0)))

    async def _rest(self, client: httpx.AsyncClient, artifact: Artifact, part: BinaryIO) -> None:
        """Fetch what is missing, if the server keeps its end, else everything."""
        if _size(part) > artifact.size:
            self._empty(part)
        start = _size(part)
        if start == artifact.size:
            return
        asked = {"Range": f"bytes={start}-"} if start else {}
        headers = {"Accept-Encoding": "identity", **asked}
        async with client.stream("GET", self._url(artifact, secret=True), headers=headers) as got:
            self._check(got, artifact)
            if start and not _goes_on(got, start):
                self._empty(part)
            await self._write(got, artifact, part)

    def _check(self, got: httpx.Response, artifact: Artifact) -> None:
        url, status = self._url(artifact), got.status_code
        if status in _TRY_AGAIN:
            after = got.headers.get("Retry-After", "")
            raise _Again(f"it answers {status}", float(after) if after.isdecimal() else 0.0)
        if status in {404, 410}:
            raise Refused(f"{url} does not exist ({status}): is that a whole Maven repository?")
        if status in {401, 403, 407}:
            raise Refused(f"{url} is not for us ({status}): the mirror or proxy wants a password")
        if status not in {200, 206, 416}:
            raise Refused(f"{url} answers {status}, which is no answer to a fetch")

    async def _write(self, got: httpx.Response, artifact: Artifact, part: BinaryIO) -> None:
        if got.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Again("it has fewer bytes than are here already")
        since, mark = time.monotonic(), _size(part)
        async for chunk in got.aiter_bytes():
            _write_all(part, chunk)
            self.display.advance(len(chunk))
            size = _size(part)
            if size > artifact.size:
                return
            if time.monotonic() - since > self.patience.silence:
                if size - mark < self.patience.slowest:
                    raise _Again(f"it sent {size - mark} bytes in {self.patience.silence:.0f} s")
                since, mark = time.monotonic(), size
        if _size(part) < artifact.size and "Content-Length" not in got.headers:
            raise _Again(f"it broke off after {megabytes(_size(part))}")

    def _empty(self, part: BinaryIO) -> None:
        self.display.advance(-_size(part))
        part.truncate(0)

    def _url(self, artifact: Artifact, *, secret: bool = False) -> str:
        return f"{self.base if secret else redact(self.base)}/{artifact.path}"


def is_sound(file: Path, artifact: Artifact) -> bool:
    """Whether a file is there, whole and unchanged."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return file.stat().st_size == artifact.size and digest(file) == artifact.sha256
    return False


def digest(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _client(patience: Patience) -> httpx.AsyncClient:
    timeout = httpx.Timeout(patience.silence, pool=None)
    try:
        return httpx.AsyncClient(timeout=timeout, follow_redirects=True)
    except (OSError, ValueError, httpx.InvalidURL) as error:
        raise ProfileError(
            f"the environment asks for a proxy or for certificates that do not work: {error}; look "
            "at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        ) from error


def _write_all(part: BinaryIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[part.write(left) :]


def _size(opened: BinaryIO) -> int:
    return os.fstat(opened.fileno()).st_size


def _lock(opened: BinaryIO) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(opened: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of this name: who held it may have renamed it."""
    try:
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _goes_on(got: httpx.Response, start: int) -> bool:
    said = got.headers.get("Content-Range", "")
    return got.status_code == httpx.codes.PARTIAL_CONTENT and said.startswith(f"bytes {start}-")


def _explained(error: Exception) -> str:
    what = str(error) or type(error).__name__
    if _UNTRUSTED in what:
        return f"{what}. If your network has a certificate of its own, name it in SSL_CERT_FILE"
    return what


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
