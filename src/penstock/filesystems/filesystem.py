"""What a file system promises to the file sink and the `Files` source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from penstock.errors import Refused


@dataclass(frozen=True)
class Entry:
    """A file as a listing shows it.

    Args:
        name: Its path below the root, with `/` between the parts.
        size: In bytes.
        version: Changes whenever the content does: an object's ETag, else what the system keeps
            of the file (inode, time, size).
        modified: When it was written, in UTC.
    """

    name: str
    size: int
    version: str
    modified: datetime


class FileSystem(Protocol):
    """Files below one root: a folder on disk, a prefix of a bucket, a folder of HDFS.

    Names are paths below the root, with `/` between the parts and without `.` and `..`. Objects
    may be used from several threads.

    Every method raises `Unavailable` when the system is away (also: a full disk) and `Refused`
    when it says a final no. What the caller decides about comes as Python's `FileNotFoundError`
    and `FileExistsError`. No message holds a secret.
    """

    url: str
    """The root for messages: secrets redacted."""

    def list(self, folder: str = "") -> Iterator[Entry]:
        """Yield every file below a folder, in any order; nothing when there is no such folder."""

    def stat(self, name: str) -> Entry | None:
        """Look at one file; None when it is not there."""

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Read `size` bytes from `start` on, fewer at the end of the file; None reads to the end.

        Raises:
            FileNotFoundError: There is no such file.
        """

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a file, or replace it: readers see the old one or the whole new one.

        Its folders are made. It is durable on return. When `parts` raises, nothing is there.
        """

    def create(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet, whole: of several who try at once, one succeeds.

        Raises:
            FileExistsError: It is there. After a lost answer it may be one's own: look at it.
        """

    def rename(self, name: str, new: str) -> None:
        """Move a file; the new name is seen with the whole file or not at all.

        A crash may leave both names, on systems that copy (S3) or link (disk); doing it again
        then raises `FileExistsError`, and the old name may be deleted.

        Raises:
            FileNotFoundError: There is no file of the old name.
            FileExistsError: There is one of the new name. In S3 somebody who creates it at the
                same moment is not noticed.
        """

    def delete(self, names: Sequence[str]) -> None:
        """Delete files; those that are not there are no error."""

    def close(self) -> None:
        """Release connections; never raises."""


def verified(name: str) -> str:
    """Return a name that stays below the root.

    Raises:
        Refused: It does not.
    """
    if not name or "\0" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise Refused(f"{name!r} is no name of a file below a folder; leave out '.', '..' and '//'")
    return name
