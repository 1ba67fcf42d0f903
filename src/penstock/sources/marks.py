"""How far each file was read, and whether it is still the same file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from penstock.errors import Unavailable

_WINDOW = 1024
_REMEMBERED = 1000


@dataclass(frozen=True)
class Mark:
    """How far a file was read, and by what it is known again.

    Args:
        path: Its name when it was read.
        offset: Bytes taken.
        mtime: When it had been changed last, in nanoseconds, as it was read.
        seal: Checksum of the first and the last of the bytes taken, up to 1 KB each.
    """

    path: str
    offset: int = 0
    mtime: int = 0
    seal: int = 0

    def holds(self, descriptor: int) -> bool:
        """Whether an open file still begins with the bytes taken."""
        return seal(descriptor, self.offset) == self.seal


def seal(descriptor: int, offset: int) -> int:
    """Checksum of an open file's bytes before `offset`: of their beginning and their end."""
    size = min(_WINDOW, offset)
    head = os.pread(descriptor, size, 0)
    tail = os.pread(descriptor, size, offset - size)
    return zlib.crc32(tail, zlib.crc32(head)) if len(tail) == size else -1


def identity(stat: os.stat_result) -> str:
    """What stays the same when a file is renamed."""
    return f"{stat.st_dev:x}:{stat.st_ino:x}"


class Marks:
    """The marks of all files, by what stays when they are renamed: the cursor of `Files`.

    Args:
        cursor: The committed cursor; None for a source that never read.
        present: What `os.stat` says of the files that are there now, by path.
    """

    def __init__(self, cursor: Any, present: Mapping[str, os.stat_result]) -> None:
        self._marks = {key: Mark(*values) for key, values in (cursor or {}).items()}
        self._by_path = {mark.path: key for key, mark in self._marks.items()}
        self._present = {path: identity(stat) for path, stat in present.items()}
        self._here = set(self._present.values())

    def cursor(self) -> dict[str, Any]:
        """What to commit. Of files that are gone the latest thousand are remembered."""
        gone = [key for key in self._marks if key not in self._here]
        for key in gone[:-_REMEMBERED]:
            del self._marks[key]
        return {key: list(astuple(mark)) for key, mark in self._marks.items()}

    def unchanged(self, path: str, stat: os.stat_result) -> bool:
        """Whether a file was read to its end and not touched since."""
        mark = self._marks.get(self._present[path])
        return mark is not None and mark == Mark(path, stat.st_size, stat.st_mtime_ns, mark.seal)

    def find(self, path: str, descriptor: int) -> tuple[Mark, Mark | None]:
        """Where to go on in an open file.

        Returns:
            Its mark, a fresh one when it is to be read from its beginning; and then the mark
            that is given up with it, if this path held another file or other bytes before.

        Raises:
            Unavailable: It was replaced since it was listed.
        """
        stat = os.fstat(descriptor)
        key = identity(stat)
        if key != self._present[path]:
            raise Unavailable(f"{path} was replaced just now; it is read at the next poll")
        numbered, named = self._marks.get(key), self._gone(path)
        if numbered is not None and numbered.path != path and not _left(numbered, stat):
            numbered = None
        held = [mark for mark in (numbered, named) if mark and mark.holds(descriptor)]
        if not held:
            lost = numbered if numbered and numbered.path == path else named
            return Mark(path), lost
        mark = max(held, key=lambda mark: mark.offset)
        if mark is named:
            self._marks[key] = self._marks.pop(self._by_path[path])
        return mark, None

    def move(self, path: str, mark: Mark) -> None:
        """Keep how far the file that has this path now was read."""
        key = self._present[path]
        self._marks.pop(key, None)
        self._marks[key] = mark

    def _gone(self, path: str) -> Mark | None:
        """The mark of a file that had this path and is no more: it may have been rewritten."""
        key = self._by_path.get(path)
        return None if key is None or key in self._here else self._marks.get(key)


def _left(mark: Mark, stat: os.stat_result) -> bool:
    """Whether a file under a new name was left untouched, or has grown, since it was marked.

    Otherwise it is a new file: the numbers of files are given again, and a new file may begin as
    an old one did.
    """
    return mark.mtime == stat.st_mtime_ns or stat.st_size > mark.offset
