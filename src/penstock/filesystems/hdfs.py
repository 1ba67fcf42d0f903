"""Files of HDFS, by hdfs-native: no Java."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from secrets import token_hex

from hdfs_native import Client, FileStatus, WriteOptions

from penstock.errors import PenstockError, Refused, Unavailable
from penstock.filesystems.address import Address
from penstock.filesystems.filesystem import Entry, verified

# The engine waits and tries again; this is for a hiccup, and for a NameNode that takes over.
_CONFIG = {
    "dfs.client.failover.max.attempts": "4",
    "dfs.client.failover.sleep.base.millis": "200",
    "dfs.client.failover.sleep.max.millis": "2000",
    "dfs.client.socket-timeout": "30000",
}

_JAVA = re.compile(r"\b(?:org\.apache\.hadoop|java)\.[\w.$]*?(\w+(?:Exception|Error))\b")

_TRACE = re.compile(r"(?:\\n|\n)(?:\\t|\t)at ")

_FINAL = {
    "AccessControlException": "allow it to this user (HADOOP_USER_NAME, or Kerberos)",
    "AuthorizationException": "allow it to this user (HADOOP_USER_NAME, or Kerberos)",
    "InvalidPathException": "use another name",
    "ParentNotDirectoryException": "move the file that is there away",
    "UnresolvedPathException": "name the folder that the link points to",
    "QuotaExceededException": "raise the quota",
    "NSQuotaExceededException": "raise the quota of names",
}


class HdfsFiles:
    """Files below a folder of HDFS.

    Args:
        address: NameNode and folder; the folder need not be there yet.
    """

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._root = address.path.rstrip("/")
        self._node = f"hdfs://{address.host}"
        options = {name: int(value) for name, value in address.options.items()}
        self._options = WriteOptions(
            block_size=options.get("block_size"),
            replication=options.get("replication"),
            overwrite=False,
            create_parent=True,
        )
        self._made: Client | None = None

    def list(self, folder: str = "") -> Iterator[Entry]:
        top = f"{self._root}/{verified(folder)}" if folder else self._root or "/"
        with self._said():
            try:
                found = self._client.list_status(top, recursive=True)
                yield from (self._entry(one) for one in found if not one.isdir)
            except FileNotFoundError:
                return

    def stat(self, name: str) -> Entry | None:
        with self._said():
            try:
                found = self._client.get_file_info(self._path(name))
            except FileNotFoundError:
                return None
        return None if found.isdir else self._entry(found)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        with self._said(), self._client.read(self._path(name)) as file:
            end = len(file) if size is None else min(len(file), start + size)
            return file.read_range(start, end - start) if start < end else b""

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        with self._written(name, parts) as fresh, self._said():
            self._client.rename(fresh, self._path(name), overwrite=True)

    def create(self, name: str, data: bytes) -> None:
        with self._written(name, [data]) as fresh, self._said():
            self._client.rename(fresh, self._path(name))

    def rename(self, name: str, new: str) -> None:
        with self._said():
            self._client.mkdirs(self._path(new).rpartition("/")[0] or "/", create_parent=True)
            self._client.rename(self._path(name), self._path(new))

    def delete(self, names: Sequence[str]) -> None:
        with self._said():
            for name in names:
                with suppress(FileNotFoundError):
                    self._client.delete(self._path(name))

    def close(self) -> None:
        self._made = None

    # --- inside ---

    @property
    def _client(self) -> Client:
        if self._made is None:
            self._made = Client(self._node, _CONFIG)
        return self._made

    def _path(self, name: str) -> str:
        return f"{self._root}/{verified(name)}"

    def _entry(self, found: FileStatus) -> Entry:
        name = re.sub(r"^hdfs://[^/]*", "", found.path).removeprefix(f"{self._root}/")
        when = found.modification_time
        return Entry(
            name,
            found.length,
            f"{when:x}-{found.length:x}",
            datetime.fromtimestamp(when / 1e3, UTC),
        )

    @contextmanager
    def _written(self, name: str, parts: Iterable[bytes]) -> Iterator[str]:
        """Write a hidden file beside the one that it is to become."""
        folder = self._path(name).rpartition("/")[0]
        fresh = f"{folder}/.{token_hex(8)}.part"
        try:
            self._fill(fresh, parts)
            yield fresh
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._client.delete(fresh)
            raise

    def _fill(self, fresh: str, parts: Iterable[bytes]) -> None:
        with self._said():
            file = self._client.create(fresh, self._options)
        try:
            for part in parts:
                with self._said():
                    file.write(part)
        finally:
            with self._said():
                file.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except PenstockError:
            raise
        except Exception as error:
            raise self._meaning(error) from None

    def _meaning(self, error: Exception) -> PenstockError | OSError:
        text = str(error)
        java = found[1] if (found := _JAVA.search(text)) else ""
        said = f"{self.url}: {' '.join(_TRACE.split(text)[0].split())}"
        if java == "FileAlreadyExistsException":
            return FileExistsError(said)
        if java == "FileNotFoundException":
            return FileNotFoundError(said)
        if java in _FINAL:
            return Refused(f"{said}; {_FINAL[java]}")
        return Unavailable(said)
