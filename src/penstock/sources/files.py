"""The `Files` source: files that may grow, be rotated, and be joined by new ones.

Guarantee: every record that has ended is landed once, byte for byte. Lines that were
appended and gone again between two polls (truncated, rotated out of the pattern) cannot be read;
that a file shrank or was replaced is said in the log and in the response's headers.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Refused, Unavailable
from penstock.interfaces import Clock, Cursor, Response
from penstock.profile import EnvVar, redact
from penstock.records import Span
from penstock.sources.declared import require, seconds
from penstock.sources.forms import Csv, Form, Lines
from penstock.sources.marks import Mark, Marks, identity, seal
from penstock.sources.places import place
from penstock.sources.whole import Whole, is_compressed

_CHUNK = 256 * 1024
_FORMATS: dict[str, Form | None] = {"ndjson": Lines(), "csv": Csv(), "parquet": None}
_WILD = re.compile(r"[*?\[]")

_log = logging.getLogger(__name__)


class Files:
    """Read NDJSON, CSV or Parquet: a file, all files of a folder, or those that match a pattern.

    Files are taken in the order of their names, in pieces of whole records. With `every` they are
    watched: a file may grow, a last line is taken when its newline has come, new files join.
    Without, they are read once, and a last line counts without a newline. A later piece of a CSV
    file is landed with the file's header line before it. A file that was changed while it was
    read, other than at its end, is read again.

    A file is known again by its inode and its bytes: renamed within the pattern it goes on where
    it stood; truncated or replaced by other bytes it begins anew. To lose nothing when files are
    rotated, let the pattern cover the rotated names (`"logs/app.log*"`). Hidden files of a folder
    are passed over. A file that cannot be read is waited for, after the others were read.

    Objects (`s3://bucket/in/*.csv?region=…`, `hdfs://host:port/in`), Parquet and compressed files
    (a path that ends in `.gz` or `.zst`) are taken as written whole: each is known by its name and
    version, and read to its end. One that was appended to goes on where it stood; one that was
    replaced begins anew. Parquet is landed as NDJSON, some thousand rows of a row group at once.
    What cannot be read on (truncated, damaged) is one dead letter, with `every` only when it was
    written more than a minute ago.

    Args:
        path: The file, folder or pattern (`*`, `?`, `[…]`, `**`). A variable is read when opened.
        format: `"ndjson"`, `"csv"`, `Csv(…)` for CSV that is written otherwise, or `"parquet"`.
        every: Seconds (or `"1s"`) from the end of one poll to the next; None to read once.

    Example:
        `ps.Files("inbox/*.ndjson", every="1s")`
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | EnvVar,
        *,
        format: str | Csv = "ndjson",
        every: str | float | None = None,
    ) -> None:
        require(bool(path), "Files needs the path of a file or folder, or a pattern")
        self._form = _form(format)
        self._grown = self._form or Lines()
        self.framing = self._grown.framing
        self.every = None if every is None else seconds(every, "every")
        self._path = path
        self._said: set[tuple[str, Mark]] = set()

    def describe(self) -> str:
        shown = f"${self._path.name}" if isinstance(self._path, EnvVar) else os.fspath(self._path)
        return f"files {redact(shown)}"

    def check(self) -> None:
        if (whole := self._whole()) is not None:
            whole.check()
            return
        for path in self._paths():
            with _opened(path):
                pass

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        if (whole := self._whole()) is not None:
            yield from whole.poll(cursor, clock)
            return
        paths = {_text(path): path for path in self._paths()}
        stats = _stats(paths)
        marks = _marks(cursor, stats)
        unreadable: Unavailable | None = None
        for name, stat in stats.items():
            try:
                if not marks.unchanged(name, stat):
                    yield from self._read(name, paths[name], marks)
            except Unavailable as error:
                unreadable = error
        if unreadable is not None:
            raise unreadable

    def _whole(self) -> Whole | None:
        """How files are read that are written whole; None when these may grow."""
        text = self._resolved()
        if "://" not in text and self._form is not None and not is_compressed(text):
            return None
        return Whole(place(text), self._form, watched=self.every is not None)

    def _resolved(self) -> str:
        return self._path.resolve() if isinstance(self._path, EnvVar) else os.fspath(self._path)

    def _paths(self) -> list[Path]:
        """The files there are now, by name."""
        text = self._resolved()
        path = Path(text)
        with _system_errors(path):
            if path.is_dir():
                return sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
            if not path.exists() and _WILD.search(text):
                return _matching(path)
        return [path]

    def _read(self, name: str, path: Path, marks: Marks) -> Iterator[Response]:
        with _opened(path) as descriptor:
            mark, lost = marks.find(name, descriptor)
            facts = {"file": name} | self._say(name, lost, descriptor)
            stat = os.fstat(descriptor)
            head = self._head(descriptor)
            if head is None:
                return
            span = Span(max(mark.offset, len(head)), stat.st_size)
            for start, piece in self._pieces(name, descriptor, span):
                _verify(name, descriptor, mark, start, piece)
                told = {"offset": str(mark.offset)}
                if head and mark.offset:
                    told["header"] = "repeated"
                end = start + len(piece)
                mark = Mark(name, end, stat.st_mtime_ns, seal(descriptor, end))
                marks.move(name, mark)
                yield Response(head + piece, marks.cursor(), {**facts, **told})

    def _head(self, descriptor: int) -> bytes | None:
        """What each piece begins with, as it stands in the file; None when it is not there yet.

        Nothing when there is none to come: what is no header is landed, and a dead letter.
        """
        beginning = os.pread(descriptor, _CHUNK, 0)
        size = self._grown.head(beginning)
        if size is None and self.every is not None and len(beginning) < _CHUNK:
            return None
        return beginning[:size] if size else b""

    def _pieces(self, name: str, descriptor: int, span: Span) -> Iterator[tuple[int, bytes]]:
        """Whole records of a span of bytes: to the file's present end, so that a poll ends."""
        start, end = span.start, span.end
        begun = bytearray()
        while start + len(begun) < end:
            at = start + len(begun)
            block = os.pread(descriptor, min(_CHUNK, end - at), at)
            if not block:
                break
            begun += block
            try:
                whole = self._grown.whole(begun, len(begun) - len(block))
            except Refused as error:
                raise Refused(f"at byte {start} of {name}, {error}") from None
            if whole:
                yield start, bytes(begun[:whole])
                start += whole
                begun.clear()
        if begun and self.every is None:
            yield start, bytes(begun)

    def _say(self, name: str, lost: Mark | None, descriptor: int) -> dict[str, str]:
        if lost is None:
            return {}
        size = os.fstat(descriptor).st_size
        how = "shrank" if size < lost.offset else "was replaced"
        note = f"{how} after byte {lost.offset}; read from its beginning"
        if (name, lost) not in self._said:
            self._said.add((name, lost))
            _log.warning("%s %s", name, note)
        return {"note": note}


def _form(format: str | Csv) -> Form | None:
    if isinstance(format, Csv):
        return format
    known = ", ".join(map(repr, _FORMATS))
    require(format in _FORMATS, f"format={format!r} is unknown: write one of {known}")
    return _FORMATS[format]


def _marks(cursor: Cursor, stats: Mapping[str, os.stat_result]) -> Marks:
    if cursor is not None and cursor.keys() == {"files"}:
        raise Refused(
            "the cursor was kept by another kind of source, of files that are written whole; land "
            "this one under a new name"
        )
    return Marks(cursor, stats)


def _verify(name: str, descriptor: int, mark: Mark, start: int, piece: bytes) -> None:
    """Make sure that a piece is of one file, by reading it again: times are too coarse to tell.

    Raises:
        Unavailable: It was changed before the piece's end.
    """
    same = os.pread(descriptor, len(piece), start) == piece and mark.holds(descriptor)
    if not same:
        raise Unavailable(f"{name} was changed while it was read; it is read again")


def _matching(pattern: Path) -> list[Path]:
    """Files that match; their folder must be there, or nothing could ever be found."""
    parts = pattern.parts
    first = next(n for n, part in enumerate(parts) if _WILD.search(part))
    folder = Path(*parts[:first])
    if not folder.is_dir():
        raise Unavailable(f"the folder {folder} does not exist; create it or correct the pattern")
    return sorted(p for p in folder.glob(str(Path(*parts[first:]))) if p.is_file())


def _text(path: Path) -> str:
    """A path as a cursor can hold it: names of files need not be UTF-8, JSON must."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _stats(paths: Mapping[str, Path]) -> dict[str, os.stat_result]:
    """What the system says of the files; one with two names counts under the first."""
    stats: dict[str, os.stat_result] = {}
    known: set[str] = set()
    for name, path in paths.items():
        with _system_errors(path):
            stat = path.stat()
        if identity(stat) not in known:
            known.add(identity(stat))
            stats[name] = stat
    return stats


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with _system_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror or error}") from error
