"""Files on disk, synced file and folder: what a method returned from survives a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from penstock.errors import Refused, Unavailable
from penstock.filesystems.address import Address
from penstock.filesystems.filesystem import Entry, verified

_FINAL = {
    errno.EACCES: "allow this user to write there",
    errno.EPERM: "allow this user to write there, on a file system with hard links",
    errno.EOPNOTSUPP: "use a file system with hard links",
    errno.EROFS: "mount it for writing",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOTDIR: "move the file that is there away",
    errno.EISDIR: "move the folder that is there away",
    errno.EINVAL: "use another name",
    errno.ELOOP: "mend the symbolic links",
}
_CURES = {
    errno.ENOSPC: "; make room on it",
    errno.EDQUOT: "; raise the quota or make room",
    errno.EFBIG: "; allow larger files",
}


class LocalFiles:
    """Files below a folder of this machine. Links to folders are not followed by `list`.

    Args:
        address: The folder; it need not be there yet.
    """

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._root = Path(address.path)

    def list(self, folder: str = "") -> Iterator[Entry]:
        top = self._root / verified(folder) if folder else self._root
        with self._said():
            yield from self._below(top)

    def stat(self, name: str) -> Entry | None:
        path = self._path(name)
        with self._said():
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return None if path.is_dir() else self._entry(path, found)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        with self._said(), self._path(name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if size is None else size)

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        path = self._path(name)
        with self._said(), self._written(path, parts) as fresh:
            fresh.replace(path)
            _sync(path.parent)

    def create(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with self._said(), self._written(path, [data]) as fresh:
            path.hardlink_to(fresh)
            fresh.unlink()
            _sync(path.parent)

    def rename(self, name: str, new: str) -> None:
        old, path = self._path(name), self._path(new)
        with self._said():
            self._make(path.parent)
            path.hardlink_to(old)
            _sync(path.parent)
            old.unlink(missing_ok=True)
            _sync(old.parent)

    def delete(self, names: Sequence[str]) -> None:
        paths = [self._path(name) for name in names]
        with self._said():
            for path in paths:
                with suppress(NotADirectoryError):
                    path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                with suppress(FileNotFoundError, NotADirectoryError):
                    _sync(folder)

    def close(self) -> None:
        """Hold nothing open."""

    # --- inside ---

    def _path(self, name: str) -> Path:
        return self._root / verified(name)

    def _below(self, folder: Path) -> Iterator[Entry]:
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(Path(entry.path))
            elif entry.is_file():
                with suppress(FileNotFoundError):  # gone since
                    yield self._entry(Path(entry.path), entry.stat())

    def _entry(self, path: Path, found: os.stat_result) -> Entry:
        return Entry(
            path.relative_to(self._root).as_posix(),
            found.st_size,
            f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}",
            datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC),
        )

    def _make(self, folder: Path) -> None:
        """Make a folder, and those above it, so that they survive a power cut, too."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        _sync(folder.parent)

    @contextmanager
    def _written(self, path: Path, parts: Iterable[bytes]) -> Iterator[Path]:
        """Write a hidden file beside the one that it is to become."""
        self._make(path.parent)
        fresh = path.with_name(f".{token_hex(8)}.part")
        try:
            with fresh.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            yield fresh
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            words = f"{self.url}: {error.strerror or error}"
            if error.errno in _FINAL:
                cure = _FINAL[error.errno]
                raise Refused(f"{words} ({error.filename}); {cure}") from error
            cure = _CURES.get(error.errno or 0, "")
            raise Unavailable(words + cure) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
