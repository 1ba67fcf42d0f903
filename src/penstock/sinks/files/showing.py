"""Gives files their names that readers see, and takes names away: rolls manifests forward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from penstock import faults
from penstock.errors import Refused
from penstock.filesystems import FileSystem
from penstock.sinks.files.journal import Journal
from penstock.sinks.files.manifest import Change, File
from penstock.sinks.files.table import listed

_SIDE_BY_SIDE = 8


class Showing:
    """Brings a table's folder up to its manifests. What was done, is done again without harm.

    A file is moved by whoever comes first; a second one finds it moved. Nobody stages a second
    file of the same name.

    Args:
        files: The store.
        folder: The table's, below the store's root.
        journal: The table's manifests.
    """

    def __init__(self, files: FileSystem, folder: str, journal: Journal) -> None:
        self.done: set[int] = set()
        """Manifests that need not be looked at again; the next manifest says so."""
        self._files = files
        self._folder = folder
        self._journal = journal

    def roll_forward(self) -> None:
        """Show and hide what the manifests say that is not done yet.

        Raises:
            Refused: A file that was committed is gone.
            Unavailable: The store is away; the next call goes on.
        """
        for number, change in sorted(self._journal.state.pending.items()):
            if number in self.done:
                continue
            missing = self._apply(change)
            if missing and self._still_pending(number):
                raise Refused(
                    f"{listed(missing)} of {self._files.url}/{self._folder} was committed by "
                    f"manifest {number} and is gone, staged and shown: restore it, or reconcile "
                    "after you have moved the table and its manifests away"
                )
            self.done.add(number)

    def forget(self) -> tuple[int, ...]:
        """Say for the next manifest which ones were done."""
        return tuple(sorted(self.done & self._journal.state.pending.keys()))

    def _apply(self, change: Change) -> list[str]:
        # First away, then there: a reader may miss rows for a moment, but sees none twice.
        self._files.delete([f"{self._folder}/{name}" for name in change.remove])
        faults.point("showing")
        with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(change.add) or 1)) as pool:
            shown = list(pool.map(self._show, change.add))
        return [file.name for file, there in zip(change.add, shown, strict=True) if not there]

    def _show(self, file: File) -> bool:
        """Rename a file; False when it is neither staged nor shown."""
        faults.point("showing")
        name = f"{self._folder}/{file.name}"
        try:
            self._files.rename(file.staged, name)
        except FileExistsError:  # a crash left both names
            self._files.delete([file.staged])
        except FileNotFoundError:
            return self._files.stat(name) is not None
        return True

    def _still_pending(self, number: int) -> bool:
        """Ask the manifests again: somebody may have shown and compacted the files since."""
        return number in self._journal.load().pending


def sources(pending: Mapping[int, Change]) -> Iterable[File]:
    """Yield the files that may still be staged."""
    for change in pending.values():
        yield from change.add
