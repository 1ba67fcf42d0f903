"""Makes few large files of many small ones, by the same manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from secrets import token_hex

from penstock.errors import Unavailable
from penstock.filesystems import Entry, FileSystem
from penstock.sinks.files.journal import Journal
from penstock.sinks.files.manifest import File, Manifest, State
from penstock.sinks.files.showing import Showing
from penstock.sinks.files.table import Table

_MOST = 200
"""Files that are read at once, whatever their size."""


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Args:
        before: How many files it took.
        after: How many it made of them.
        size: Bytes of those that it made.
    """

    before: int = 0
    after: int = 0
    size: int = 0

    def __add__(self, other: Compacted) -> Compacted:
        """Add field by field."""
        return Compacted(
            self.before + other.before, self.after + other.after, self.size + other.size
        )


class Compaction:
    """Compacts a table. A pipeline may be writing to it; a second compaction may not.

    For each file that it makes: it is staged; a manifest takes the small ones away and adds it;
    the small ones are deleted; it is renamed to where readers see it. Between the last two steps
    readers of the folder miss these rows. They never see a row twice.

    Args:
        files: The store.
        table: Which table.
        journal: Its manifests.
        showing: Rolls them forward.
    """

    def __init__(self, files: FileSystem, table: Table, journal: Journal, showing: Showing) -> None:
        self._files = files
        self._table = table
        self._journal = journal
        self._showing = showing

    def run(self, size: int) -> Compacted:
        """Bring files of less than half of `size` bytes together, up to that size each.

        Raises:
            Unavailable: The store is away, or somebody else compacts the table.
            Refused: A file is damaged.
        """
        self._journal.load()
        self._showing.roll_forward()
        done = Compacted()
        for few in list(self._groups(size)):
            done += self._together(few)
        return done

    # --- inside ---

    def _groups(self, size: int) -> Iterator[list[Entry]]:
        small = [
            entry
            for entry in self._files.list(self._table.folder)
            if entry.size * 2 < size and entry.name.endswith(self._table.settings.suffix)
        ]
        small.sort(key=lambda entry: entry.name)
        for _, entries in groupby(small, key=lambda entry: entry.name.rpartition("/")[0]):
            yield from filter(lambda few: len(few) > 1, _cut(list(entries), size))

    def _together(self, few: Sequence[Entry]) -> Compacted:
        compactions = self._journal.state.compactions
        names = [entry.name.removeprefix(f"{self._table.folder}/") for entry in few]
        data, rows = self._table.format.merge([(n, self._read(n)) for n in names])
        merged = self._stage(names[0], data, rows)

        def build(state: State) -> Manifest:
            if state.compactions != compactions:
                self._files.delete([merged.staged])
                raise Unavailable(f"{self._table.words(self._files)} is compacted by somebody else")
            shown = self._showing.forget()
            return Manifest("compact", "", add=(merged,), remove=tuple(names), shown=shown)

        self._journal.append(build)
        self._showing.roll_forward()
        return Compacted(len(few), 1, len(data))

    def _stage(self, first: str, data: bytes, rows: dict[int, int]) -> File:
        token = token_hex(8)
        staged = f"{self._table.stage}/compact-{token}.staged"
        self._files.write(staged, [data])
        folder, slash, name = first.rpartition("/")
        place = "-".join(name.split("-")[:2])
        visible = f"{folder}{slash}{place}-{token}{self._table.settings.suffix}"
        return File(staged, visible, rows, len(data))

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read(f"{self._table.folder}/{name}")
        except FileNotFoundError:
            raise Unavailable(
                f"{self._files.url}/{self._table.folder}/{name} is gone: somebody else compacts "
                "the table, or removes files; try again"
            ) from None


def _cut(entries: list[Entry], size: int) -> Iterator[list[Entry]]:
    """Cut a folder's files into runs that give a file of about `size` bytes."""
    few: list[Entry] = []
    for entry in entries:
        if few and (sum(e.size for e in few) + entry.size > size or len(few) == _MOST):
            yield few
            few = []
        few.append(entry)
    yield few
