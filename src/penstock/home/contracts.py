"""Versions of contracts: what a program declares is compared with what it declared before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from penstock.contract import ContractSpec, compare, unreadable
from penstock.errors import ContractError
from penstock.home.database import Cursor

if TYPE_CHECKING:
    from penstock.plan import Segment


@dataclass(frozen=True)
class Change:
    """How a contract differs from the version before.

    Args:
        name: `topic users_created` or `table created_users@warehouse`.
        version: The new version's number; 1 for a first one.
        compatible: What changes and breaks nothing, one sentence each.
        breaking: What breaks, one sentence each.
        readers: Lanes that read a topic, of every pipeline.
    """

    name: str
    version: int
    spec: ContractSpec
    compatible: tuple[str, ...]
    breaking: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A contract's newest version, for people."""

    name: str
    version: int
    fingerprint: str
    first_seen: datetime


def changes(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> list[Change]:
    """Compare a program's contracts with the versions known; writes nothing.

    A landing keeps the bytes that came, whatever the contract says of them, so it has no version.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose program.
        segments: All of it.

    Returns:
        Those that are new or differ, in the program's order.
    """
    cursor.execute(
        "SELECT DISTINCT ON (name) name, version, fingerprint, contract FROM penstock.contracts"
        " WHERE pipeline = %s ORDER BY name, version DESC",
        [pipeline],
    )
    known = {name: (version, mark, old) for name, version, mark, old in cursor}
    found = []
    for name, spec in dict(_named(segments)).items():
        version, mark, old = known.get(name, (0, "", None))
        if mark == spec.fingerprint:
            continue
        difference = compare(old, spec) if old else None
        compatible = tuple(difference.compatible) if difference else ()
        breaking = tuple(difference.breaking) if difference else ()
        readers = _readers(cursor, name) if breaking else ()
        found.append(Change(name, version + 1, spec, compatible, breaking, readers))
    return found


def verify(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> list[Change]:
    """Find a program's changes as `changes` does; raises `ContractError` when one breaks."""
    found = changes(cursor, pipeline, segments)
    broken = [_complaint(change) for change in found if change.breaking]
    broken += disagreements(cursor, pipeline, segments)
    if broken:
        raise ContractError("\n".join(broken))
    return found


def admit(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> list[Change]:
    """Keep a program's contracts as the versions that later ones are compared with.

    Args:
        cursor: In a transaction on home; call it before the sinks are opened.
        pipeline: Whose program.
        segments: All of it.

    Returns:
        What changed, in the program's order.

    Raises:
        ContractError: A change would break readers or stored rows; nothing is kept then.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('penstock contracts'))")
    found = verify(cursor, pipeline, segments)
    cursor.executemany(
        "INSERT INTO penstock.contracts (pipeline, name, version, fingerprint, contract)"
        " VALUES (%s, %s, %s, %s, %s)",
        [
            (pipeline, one.name, one.version, one.spec.fingerprint, Jsonb(one.spec.to_json()))
            for one in found
        ],
    )
    return found


def disagreements(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> list[str]:
    """Say which topics of other pipelines cannot be read by this program's contracts; and why.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose program.
        segments: All of it.
    """
    found = []
    for segment in segments:
        if not segment.external:
            continue
        cursor.execute(_WRITTEN, [segment.name, pipeline])
        for writer, version, contract in cursor.fetchall():
            if wrong := unreadable(contract, segment.spec):
                found.append(
                    f"topic {segment.name!r} is written by pipeline {writer!r} (version {version}"
                    f" of its contract), and {segment.spec.name} as it is declared at"
                    f" {segment.spec.file}:{segment.spec.line} cannot read it:"
                    f" {'; '.join(wrong)}. Correct it, or write `| None` for what may be missing."
                )
    return found


_WRITTEN = """
    SELECT DISTINCT ON (contracts.pipeline) contracts.pipeline, version, contract
    FROM penstock.contracts JOIN penstock.programs ON programs.pipeline = contracts.pipeline
        AND programs.current AND programs.mode = 'topic'
        AND contracts.name = 'topic ' || programs.target
    WHERE programs.target = %s AND contracts.pipeline <> %s
    ORDER BY contracts.pipeline, version DESC
"""


def versions(cursor: Cursor, pipeline: str) -> list[Version]:
    """List the newest version of each contract, by name.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
    """
    cursor.execute(
        "SELECT DISTINCT ON (name) name, version, fingerprint, first_seen"
        " FROM penstock.contracts WHERE pipeline = %s ORDER BY name, version DESC",
        [pipeline],
    )
    return [Version(*row) for row in cursor]


def _named(segments: Sequence[Segment]) -> Iterator[tuple[str, ContractSpec]]:
    for segment in segments:
        if segment.kind == "topic":
            yield f"topic {segment.name}", segment.spec
        for lane in segment.lanes:
            if lane.mode == "topic":
                yield f"topic {lane.table}", lane.spec
            else:
                yield f"table {lane.name}", lane.spec


def _readers(cursor: Cursor, name: str) -> tuple[str, ...]:
    kind, _, log = name.partition(" ")
    if kind != "topic":
        return ()
    cursor.execute(
        "SELECT lane || ' of pipeline ' || pipeline FROM penstock.programs"
        " WHERE current AND segment = %s ORDER BY pipeline, place",
        [log],
    )
    return tuple(reader for (reader,) in cursor)


def _complaint(change: Change) -> str:
    what = "; ".join(change.breaking)
    readers = f" It is read by {', '.join(change.readers)}." if change.readers else ""
    return (
        f"the contract of {change.name} cannot become {change.spec.name} as it is declared at"
        f" {change.spec.file}:{change.spec.line}: {what}.{readers}"
        " Change it back, or give the new form another name."
    )
