"""Files that wait for their commit, under names that no reader looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import polars as pl

from penstock import faults
from penstock.errors import Refused
from penstock.filesystems import FileSystem
from penstock.sinks.files import layout
from penstock.sinks.files.manifest import Change, File
from penstock.sinks.files.showing import sources
from penstock.sinks.files.table import Table

_STALE = timedelta(days=1)
"""After which a half-written file is nobody's."""


class Staging:
    """Writes and sweeps staged files.

    Args:
        files: The store.
        table: Whose files.
    """

    def __init__(self, files: FileSystem, table: Table) -> None:
        self._files = files
        self._table = table

    def stage(self, rows: pl.DataFrame, partition: int, epoch: int) -> list[File]:
        """Write rows, one file for each folder.

        Args:
            rows: Contract columns, then `ROW_COLUMNS`.
            partition: One that the owner holds: whoever takes it over may sweep the files.
            epoch: Of that partition.

        Raises:
            Rejected: A value cannot name a folder.
            Refused: There are too many folders.
        """
        parts = self._table.settings.parts
        if found := layout.unfit(parts, rows):
            raise found[0][1]
        staged = []
        for folder, some in self._divided(layout.folders(parts, rows), rows):
            staged.append(self._write(folder, some, f"{partition}-{epoch}"))
            faults.point("copying")
        return staged

    def verify(self, files: Sequence[File]) -> None:
        """Make sure that files that others staged are there, whole; raises `Refused`."""
        for file in files:
            entry = self._files.stat(file.staged)
            if entry is None or entry.size != file.size:
                raise Refused(f"the staged file {self._files.url}/{file.staged} is gone or cut off")

    def sweep(self, epochs: Mapping[int, int], pending: Mapping[int, Change]) -> None:
        """Remove what nobody will commit.

        Args:
            epochs: Of the partitions, as the manifests say them.
            pending: What was committed and may still be staged.
        """
        needed = {file.staged for file in sources(pending)}
        now = datetime.now(UTC)
        dead = []
        for folder in (self._table.stage, self._table.journal):
            for entry in self._files.list(folder):
                name = entry.name.rpartition("/")[2]
                old = now - entry.modified > _STALE
                stale = old and name.startswith((".", "compact-")) and entry.name not in needed
                if stale or (_overtaken(name, epochs) and entry.name not in needed):
                    dead.append(entry.name)
        self._files.delete(dead)

    # --- inside ---

    def _divided(self, folders: pl.Series, rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
        distinct = folders.n_unique()
        if distinct > layout.MOST_FOLDERS:
            names = ", ".join(repr(part.name) for part in self._table.settings.parts)
            raise Refused(
                f"table {self._table.name!r}: one micro-batch has rows for {distinct} folders, "
                f"more than {layout.MOST_FOLDERS}; partition_by ({names}) should name columns "
                "with fewer values"
            )
        if distinct < 2:
            return [(folders[0], rows)] if rows.height else []
        keyed = rows.with_columns(folders.alias("_folder"))
        groups = keyed.partition_by("_folder", maintain_order=True, include_key=False, as_dict=True)
        return [(str(key[0]), group) for key, group in groups.items()]

    def _write(self, folder: str, rows: pl.DataFrame, owner: str) -> File:
        data = self._table.format.encode(rows)
        token = token_hex(8)
        first = rows.row(0, named=True)
        place = f"{first['_partition']}-{first['_offset']:020d}-{token}"
        file = f"{place}{self._table.settings.suffix}"
        staged = f"{self._table.stage}/{owner}-{token}.staged"
        self._files.write(staged, [data])
        counts = dict(rows["_partition"].value_counts().iter_rows())
        return File(staged, f"{folder}/{file}" if folder else file, counts, len(data))


def _overtaken(name: str, epochs: Mapping[int, int]) -> bool:
    """Whether a staged file is of an owner that has a successor."""
    partition, _, rest = name.removeprefix("-").partition("-")
    if not name.endswith(".staged") or not partition.isdecimal():
        return False
    number = -int(partition) if name.startswith("-") else int(partition)
    return int(rest.partition("-")[0]) < epochs.get(number, 0)
