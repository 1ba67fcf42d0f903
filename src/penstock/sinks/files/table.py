"""The table of a lane: its folders, what it looks like, and who writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.errors import Refused
from penstock.filesystems import FileSystem
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import LaneKey
from penstock.sinks.files import layout, settings
from penstock.sinks.files.formats import Format
from penstock.sinks.files.manifest import Manifest, State

_FIXED = ("format", "partition_by")


class Table:
    """Where a lane's files go.

    Args:
        store: The store, with the settings of its tables.
        lane: The lane, of mode `append`.

    Raises:
        ProfileError: A setting is wrong.
    """

    def __init__(self, store: Store, lane: Lane) -> None:
        self.settings = settings.read(store, lane)
        self.spec = lane.spec
        self.mode = lane.mode
        self.name = lane.table
        self.format = Format(lane.spec, self.settings)

    @property
    def folder(self) -> str:
        """Of the files that readers see; raises `Refused` when none can have this name."""
        return layout.table_folder(self.name)

    @property
    def journal(self) -> str:
        """The folder of the manifests."""
        return f"{layout.BOOKS}/{self.folder}/manifests"

    @property
    def stage(self) -> str:
        """The folder of staged files."""
        return f"{layout.BOOKS}/{self.folder}/staged"

    @property
    def shape(self) -> dict[str, Any]:
        """What the manifests keep, to recognise the table by."""
        return {
            "format": self.settings.format,
            "partition_by": [part.name for part in self.settings.parts],
            "columns": {
                field.name: {"type": str(field.type.polars), "nullable": field.nullable}
                for field in self.spec.fields
            },
        }

    def words(self, files: FileSystem) -> str:
        """Name the table, for messages."""
        return f"the table {self.name!r} in {files.url}"

    def check(self) -> None:
        """Refuse a lane that files cannot be: without a folder's name, or by key."""
        _ = self.folder
        if self.mode != "append":
            raise Refused(
                f"files cannot be changed by key, so {self.name!r} cannot be upserted; write "
                '.sink(..., mode="append") and let readers take the newest row of a key, or use a '
                "store that upserts"
            )

    def opening(self, files: FileSystem, state: State, key: LaneKey) -> list[str]:
        """Say what must change so that the lane can write; nothing when all is there.

        Raises:
            Refused: It cannot be changed; names the reason.
        """
        self.check()
        if not state.number:
            return [self._created(files)]
        ours = (key.pipeline, key.lane)
        if state.writer != ours:
            pipeline, lane = state.writer or ("?", "?")
            raise Refused(
                f"{self.words(files)} is written by lane {lane!r} of pipeline {pipeline!r}; name "
                "another table in .sink(...) or another store. If that pipeline is gone, move "
                f"{self.folder} and {layout.BOOKS}/{self.folder} away"
            )
        return self._altered(files, state.shape)

    def step(self, key: LaneKey) -> Manifest:
        """Make the manifest that says what the table looks like now."""
        return Manifest("open", "", shape=self.shape, writer=(key.pipeline, key.lane))

    def _created(self, files: FileSystem) -> str:
        if next(iter(files.list(self.folder)), None) is not None:
            raise Refused(
                f"{files.url}/{self.folder} holds files that Penstock did not write; move them "
                "away, or name another table in .sink(...)"
            )
        by = "".join(f", in folders by {part.name}" for part in self.settings.parts)
        kind = f"{self.settings.format} ({self.settings.compression})"
        return f"creates {self.words(files)}: {kind}{by}"

    def _altered(self, files: FileSystem, before: Mapping[str, Any]) -> list[str]:
        now = self.shape
        for name in _FIXED:
            if before[name] != now[name]:
                raise Refused(
                    f"{self.words(files)} has {name} = {before[name]!r}, not {now[name]!r}, and "
                    "one table cannot have both; set it back, or name a new table in .sink(...)"
                )
        return self._new_columns(files, before["columns"], now["columns"])

    def _new_columns(
        self, files: FileSystem, before: Mapping[str, Any], now: Mapping[str, Any]
    ) -> list[str]:
        for name, column in now.items():
            known = before.get(name)
            if known and known["type"] != column["type"]:
                raise Refused(
                    f"column {name!r} of {self.words(files)} is {known['type']}, the contract "
                    f"says {column['type']}; give the field a new name, or name a new table"
                )
            if known is None and not column["nullable"]:
                raise Refused(
                    f"{self.words(files)} has rows without {name!r}; make the field nullable "
                    "(| None), or name a new table"
                )
        return [f"adds column {n!r} to {self.words(files)}" for n in now if n not in before]


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """Combine what a table had with what it has now: columns of old files stay known."""
    return {**now, "columns": {**before.get("columns", {}), **now["columns"]}}


def listed(names: Sequence[str]) -> str:
    """Write names for a message, the first few of many."""
    shown = ", ".join(map(repr, names[:3]))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
