"""Reads files that are written whole: objects of a bucket, Parquet, compressed files.

A file is known by its name and version. It is read from its beginning to its end; when its
version has changed, it is another file and begins anew. What is read is verified to be of the
version that was listed before it is landed.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from datetime import timedelta
from typing import Any

from penstock.errors import Refused, Unavailable
from penstock.filesystems import Entry, FileSystem
from penstock.interfaces import Clock, Cursor, Response
from penstock.sources.forms import Form
from penstock.sources.places import Place

BLOCK = 256 * 1024
_READ = 4 * 1024 * 1024
_SHOWN = 64 * 1024
_REMEMBERED = 1000
_WORDS = 200
_PATIENCE = timedelta(minutes=1)
_CODECS = {".gz": "gzip", ".zst": "zstd"}

_log = logging.getLogger(__name__)


class Unreadable(Exception):
    """What a file holds is not what its form says, from some place on.

    Args:
        reason: Why.
        rest: Bytes that were read and are no whole record.
    """

    def __init__(self, reason: str, rest: bytes = b"") -> None:
        super().__init__(reason)
        self.rest = rest


@dataclass(frozen=True)
class Piece:
    """Some records of a file.

    Args:
        body: The bytes to land.
        next: Where the next piece begins: a byte or a row.
        facts: Where this one lay.
        taken: The bytes of the file that it is made of; empty where rows are counted.
    """

    body: bytes
    next: int
    facts: Mapping[str, str]
    taken: bytes = b""


@dataclass(frozen=True)
class Read:
    """How far one version of a file was read.

    Args:
        version: Which.
        next: The byte or row to go on at.
        seal: Checksum of the bytes before it.
        done: Whether there is nothing more in this version.
    """

    version: str
    next: int = 0
    seal: int = 0
    done: bool = False


def is_compressed(name: str) -> bool:
    """Whether a name says that its file is compressed."""
    return name.endswith(tuple(_CODECS))


class Whole:
    """One poll of files that are written whole.

    Args:
        place: Which files.
        form: How records lie in them; None for Parquet.
        watched: Whether the source comes again: then a file that was written just now and cannot
            be read is waited for.
    """

    def __init__(self, place: Place, form: Form | None, *, watched: bool) -> None:
        self._place = place
        self._form = form
        self._watched = watched

    def check(self) -> None:
        """Dial the system."""
        files = self._place.open()
        try:
            self._place.entries(files)
        finally:
            files.close()

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        """Yield responses from a cursor on; a file that cannot be read holds up no other."""
        known = _known(cursor)
        files = self._place.open()
        failed: Unavailable | None = None
        try:
            entries = self._place.entries(files)
            _forget(known, {_place(files, entry) for entry in entries})
            for entry in entries:
                try:
                    yield from self._file(files, entry, known, clock)
                except Unavailable as error:
                    failed = error
        finally:
            files.close()
        if failed is not None:
            raise failed

    def _file(
        self, files: FileSystem, entry: Entry, known: dict[str, Read], clock: Clock
    ) -> Iterator[Response]:
        """What of one file was not landed yet."""
        name = _place(files, entry)
        read = known.get(name, Read(entry.version))
        facts = {"file": name, "version": entry.version}
        if read.version != entry.version:
            read = self._renewed(files, entry, read, facts)
        if read.done:
            return
        try:
            for piece in self._pieces(files, entry, read.next):
                read = Read(entry.version, piece.next, zlib.crc32(piece.taken, read.seal))
                known[name] = read
                yield Response(piece.body, _cursor(known), {**facts, **piece.facts})
        except Unreadable as error:
            if self._watched and clock.now() - entry.modified < _PATIENCE:
                raise Unavailable(f"{name} cannot be read yet: {error}") from None
            body = error.rest or read_verified(files, entry, 0, _SHOWN)
            known[name] = replace(read, done=True)
            yield Response(body, _cursor(known), facts, cut_off=_words(name, error))
        except FileNotFoundError:
            raise Unavailable(f"{name} was removed while it was read") from None
        known[name] = replace(read, done=True)

    def _renewed(self, files: FileSystem, entry: Entry, read: Read, facts: dict[str, str]) -> Read:
        """Where to go on in a new version: after what it has in common, if it was appended to."""
        if self._form is not None and _begins_as(files, entry, read):
            return replace(read, version=entry.version, done=False)
        facts["note"] = "was replaced; read from its beginning"
        _log.warning("%s %s", facts["file"], facts["note"])
        return Read(entry.version)

    def _pieces(self, files: FileSystem, entry: Entry, start: int) -> Iterator[Piece]:
        if entry.size == 0:
            return
        if self._form is None:
            from penstock.sources import parquet

            yield from parquet.pieces(files, entry, start)
        else:
            yield from _cut(files, entry, start, self._form)


def _words(name: str, error: Unreadable) -> str:
    """Which file, and what is wrong; a long path keeps its end."""
    reason = str(error)[: _WORDS // 2]
    room = _WORDS - len(reason) - 2
    return f"{name if len(name) <= room else '…' + name[1 - room :]}: {reason}"


def _place(files: FileSystem, entry: Entry) -> str:
    """What a file is known by: its whole path, whatever the pattern is."""
    return f"{files.url.rstrip('/')}/{entry.name}"


def _begins_as(files: FileSystem, entry: Entry, read: Read) -> bool:
    """Whether a file begins with the bytes that were taken of another version."""
    seal, left = 0, read.next
    try:
        for block in _blocks(files, entry, 0):
            seal = zlib.crc32(block[:left], seal)
            left -= min(left, len(block))
            if not left:
                break
    except Unreadable:
        return False
    return not left and seal == read.seal


def read_verified(files: FileSystem, entry: Entry, start: int, size: int) -> bytes:
    """Read some bytes of the version that was listed.

    Raises:
        Unavailable: There is another version by now.
    """
    data = files.read(entry.name, start, size)
    verify(files, entry)
    return data


def verify(files: FileSystem, entry: Entry) -> None:
    """Make sure that what was read is of the version that was listed.

    Raises:
        Unavailable: There is another version by now.
    """
    now = files.stat(entry.name)
    if now is None or now.version != entry.version:
        raise Unavailable(f"{_place(files, entry)} was changed while it was read; it is read again")


def _cut(files: FileSystem, entry: Entry, start: int, form: Form) -> Iterator[Piece]:
    """Cut a file into pieces of whole records; `start` is a byte of what it holds, unpacked."""
    head, at = b"", 0
    begun = bytearray()
    blocks = _blocks(files, entry, 0 if is_compressed(entry.name) else start)
    if not is_compressed(entry.name) and start:
        at = start
        beginning = read_verified(files, entry, 0, BLOCK)
        head = beginning[: form.head(beginning) or 0]
    ended = ""
    while True:
        try:
            block = next(blocks)
        except StopIteration:
            break
        except Unreadable as error:
            ended = str(error)
            break
        begun += block
        if at == 0 and not head and (size := form.head(bytes(begun))):
            head = bytes(begun[:size])
            at = size
            del begun[:size]
        if at < start:
            skipped = min(start - at, len(begun))
            del begun[:skipped]
            at += skipped
        whole = _whole(form, begun, len(block), entry)
        if whole:
            yield _piece(head, bytes(begun[:whole]), at)
            at += whole
            del begun[:whole]
    if ended:
        raise Unreadable(ended, head + begun)
    if begun:
        yield _piece(head, bytes(begun), at)


def _whole(form: Form, begun: bytearray, fresh: int, entry: Entry) -> int:
    try:
        return form.whole(begun, max(len(begun) - fresh, 0))
    except Refused as error:
        raise Refused(f"in {entry.name}, {error}") from None


def _piece(head: bytes, body: bytes, at: int) -> Piece:
    facts = {"offset": str(0 if at == len(head) else at)}
    if head and at != len(head):
        facts["header"] = "repeated"
    return Piece(head + body, at + len(body), facts, head + body if at == len(head) else body)


def _blocks(files: FileSystem, entry: Entry, start: int) -> Iterator[bytes]:
    """The bytes of a file from `start` on, unpacked if its name says that they are packed.

    Raises:
        Unreadable: What is packed cannot be unpacked to its end.
    """
    codec = next((codec for end, codec in _CODECS.items() if entry.name.endswith(end)), None)
    if codec is None:
        for at in range(start, entry.size, _READ):
            data = read_verified(files, entry, at, _READ)
            yield from (data[n : n + BLOCK] for n in range(0, len(data), BLOCK))
        return
    from penstock.sources import parquet

    yield from parquet.unpacked(files, entry, codec)


def _known(cursor: Cursor) -> dict[str, Read]:
    if cursor is None:
        return {}
    if not isinstance(cursor, dict) or cursor.keys() != {"files"}:
        raise Refused(
            "the cursor was kept by another kind of source, perhaps of files that grow; land this "
            "one under a new name"
        )
    return {name: Read(*values) for name, values in cursor["files"].items()}


def _cursor(known: Mapping[str, Read]) -> dict[str, Any]:
    return {"files": {name: list(astuple(read)) for name, read in known.items()}}


def _forget(known: dict[str, Read], here: set[str]) -> None:
    """Of files that are gone the latest thousand are remembered."""
    gone = [name for name in known if name not in here]
    for name in gone[:-_REMEMBERED]:
        del known[name]
