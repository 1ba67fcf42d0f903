"""What a manifest says, and the state that all manifests of a table add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from penstock.records import Counts, LaneKey, Position, Progress

Place = tuple[LaneKey, int]
"""Under what a progress is kept: lane and partition."""

REMEMBERED = 100
"""Manifests whose ids a state knows, to recognise one's own after a lost answer."""


@dataclass(frozen=True)
class File:
    """A file of rows.

    Args:
        staged: Where it waits, below the store's root.
        name: Where readers will see it, below the table's folder.
        rows: How many, of each partition.
        size: In bytes.
    """

    staged: str
    name: str
    rows: Mapping[int, int]
    size: int


@dataclass(frozen=True)
class Manifest:
    """One step of a table. It is done when its file exists, whatever becomes of its writer.

    Args:
        kind: `open`, `claim`, `commit` or `compact`; for people.
        id: Its own; no other manifest has it.
        parent: The id of the one before.
        shape: What the table looks like from here on, if it changes.
        writer: Pipeline and lane that write the table, if it changes.
        progress: What moves.
        add: Files that are to be seen from now on.
        remove: Files, by name, that are not to be seen any more.
        shown: Numbers of manifests whose files were all renamed and removed.
    """

    kind: str
    id: str
    parent: str = ""
    shape: Mapping[str, Any] | None = None
    writer: tuple[str, str] | None = None
    progress: Mapping[Place, Progress] = field(default_factory=dict)
    add: tuple[File, ...] = ()
    remove: tuple[str, ...] = ()
    shown: tuple[int, ...] = ()


@dataclass(frozen=True)
class Change:
    """Files that a manifest adds and removes."""

    add: tuple[File, ...]
    remove: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """What a table is after some manifest.

    Args:
        number: Of that manifest; 0 before the first.
        id: Its id.
        shape: See `Manifest`.
        writer: See `Manifest`.
        progress: Where every lane stands.
        pending: By manifest what is, for all we know, not yet renamed or removed.
        ids: Of the last manifests, by number.
        compactions: How many there were.
    """

    number: int = 0
    id: str = ""
    shape: Mapping[str, Any] = field(default_factory=dict)
    writer: tuple[str, str] | None = None
    progress: Mapping[Place, Progress] = field(default_factory=dict)
    pending: Mapping[int, Change] = field(default_factory=dict)
    ids: Mapping[int, str] = field(default_factory=dict)
    compactions: int = 0

    def after(self, step: Manifest) -> State:
        """Apply the next manifest."""
        number = self.number + 1
        pending = {n: change for n, change in self.pending.items() if n not in step.shown}
        if step.add or step.remove:
            pending[number] = Change(step.add, step.remove)
        known = {n: id for n, id in self.ids.items() if n > number - REMEMBERED}
        return replace(
            self,
            number=number,
            id=step.id,
            shape=self.shape if step.shape is None else step.shape,
            writer=step.writer or self.writer,
            progress={**self.progress, **step.progress},
            pending=pending,
            ids={**known, number: step.id},
            compactions=self.compactions + (step.kind == "compact"),
        )


def write(step: Manifest) -> bytes:
    """Write a manifest as JSON."""
    bare = asdict(replace(step, progress={}))
    return _json({**bare, "progress": _progress(step.progress)})


def read(data: bytes) -> Manifest:
    """Read a manifest; raises ValueError, LookupError or TypeError when it is none."""
    found = json.loads(data)
    return Manifest(
        **{
            **found,
            "writer": tuple(found["writer"]) if found["writer"] else None,
            "progress": _read_progress(found["progress"]),
            "add": _files(found["add"]),
            "remove": tuple(found["remove"]),
            "shown": tuple(found["shown"]),
        }
    )


def write_state(state: State) -> bytes:
    """Write a checkpoint as JSON."""
    pending = {number: asdict(change) for number, change in state.pending.items()}
    rest = {name: getattr(state, name) for name in ("number", "id", "shape", "writer", "ids")}
    return _json(
        {
            **rest,
            "progress": _progress(state.progress),
            "pending": pending,
            "compactions": state.compactions,
        }
    )


def read_state(data: bytes) -> State:
    """Read a checkpoint; raises as `read` does."""
    found = json.loads(data)
    pending = {
        int(number): Change(_files(change["add"]), tuple(change["remove"]))
        for number, change in found["pending"].items()
    }
    return State(
        **{
            **found,
            "writer": tuple(found["writer"]) if found["writer"] else None,
            "progress": _read_progress(found["progress"]),
            "pending": pending,
            "ids": {int(number): id for number, id in found["ids"].items()},
        }
    )


def write_files(files: tuple[File, ...]) -> str:
    """Write files as text, for a receipt's token."""
    return _json([asdict(file) for file in files]).decode()


def read_files(text: str) -> tuple[File, ...]:
    """Read what `write_files` wrote."""
    return _files(json.loads(text))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _files(found: list[dict[str, Any]]) -> tuple[File, ...]:
    return tuple(
        File(**{**one, "rows": {int(p): n for p, n in one["rows"].items()}}) for one in found
    )


def _progress(progress: Mapping[Place, Progress]) -> list[Any]:
    return [[asdict(key), at, asdict(stands)] for (key, at), stands in progress.items()]


def _read_progress(found: list[Any]) -> dict[Place, Progress]:
    return {(LaneKey(**key), at): _stands(stands) for key, at, stands in found}


def _stands(found: dict[str, Any]) -> Progress:
    last = Position(**found["last"]) if found["last"] else None
    return Progress(**{**found, "totals": Counts(**found["totals"]), "last": last})
