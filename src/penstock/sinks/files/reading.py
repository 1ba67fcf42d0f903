"""Reads a table's rows back from its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import polars as pl

from penstock.errors import Unavailable
from penstock.filesystems import FileSystem
from penstock.sinks.files.manifest import File, State
from penstock.sinks.files.table import Table


class Reading:
    """The rows that were committed, whether their files are shown yet or not.

    Args:
        files: The store.
        table: Which table.
        state: What its manifests say.
    """

    def __init__(self, files: FileSystem, table: Table, state: State) -> None:
        self._files = files
        self._table = table
        self._state = state

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the rows of each file: the contract's columns, then the position.

        Raises:
            Refused: A file is damaged, or was not written by Penstock.
        """
        hidden = {n for change in self._state.pending.values() for n in change.remove}
        waiting = {f.name: f for c in self._state.pending.values() for f in c.add}
        folder = self._table.folder
        seen = {e.name.removeprefix(f"{folder}/") for e in self._files.list(folder)}
        for name in sorted((seen | waiting.keys()) - hidden):
            data = self._bytes(name, seen, waiting.get(name))
            if data is not None:  # what is gone, reconciling tells
                yield self._table.format.decode(name, data)

    def _bytes(self, name: str, seen: set[str], waiting: File | None) -> bytes | None:
        shown = f"{self._table.folder}/{name}"
        places = [shown] if waiting is None else [waiting.staged, shown]
        for place in reversed(places) if name in seen else places:
            with suppress(FileNotFoundError):
                return self._files.read(place)
        if waiting is None:
            raise Unavailable(
                f"{self._files.url}/{shown} was removed while it was to be read: compacted, or "
                "moved away; try again"
            )
        return None
