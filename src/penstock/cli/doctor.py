"""Looks at a program and at every system that it needs, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from penstock import pipeline as programs
from penstock import plan, profile
from penstock.cli import machine, options
from penstock.cli.findings import Finding, looked_at, refusal
from penstock.engines.systems import Systems
from penstock.errors import PenstockError, Refused, Unavailable
from penstock.home import contracts, identities, leases, mask_keys
from penstock.logs import tables
from penstock.postgresql import connection
from penstock.profile import JSON
from penstock.records import LaneKey, Limits
from penstock.serdes import formats

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.plan import Lane, Segment
    from penstock.profile import Profile


def examine(program: Path, profile_name: str) -> list[Finding]:
    """Examine a program and its systems, in the order in which a start would meet them.

    Raises:
        DeclarationError: The program cannot be read as a pipeline at all.
        ProfileError: The profile cannot be read.
    """
    declared = programs.load(program)
    settings = profile.load(name=profile_name)
    segments = plan.compile(declared, formats.codecs(settings))
    findings = [*_program(declared, segments, settings)]
    if all(finding.good for finding in findings):
        findings += _systems(declared, segments, settings)
        if settings.on_spark and findings[-1].system != "profile":
            from penstock.cli import cluster_check

            findings += cluster_check.examine(settings, declared, segments, program)
    return findings


def _program(
    declared: Pipeline, segments: tuple[Segment, ...], settings: Profile
) -> Iterator[Finding]:
    wrong = [str(error) for error in plan.validate(segments, settings)]
    wrong += [words for segment in segments for words in segment.plan.check()]
    if wrong:
        yield from (Finding("program", "refused", words) for words in wrong)
        return
    lanes = sum(len(segment.lanes) for segment in segments)
    yield Finding(
        "program",
        "good",
        f"pipeline {declared.name}: {len(segments)} segments, {lanes} lanes; "
        "maps fit their contracts and are row-wise on made-up records",
    )


def _systems(
    declared: Pipeline, segments: tuple[Segment, ...], settings: Profile
) -> Iterator[Finding]:
    try:
        systems = Systems(settings, declared.name, options.data())
    except PenstockError as error:
        yield refusal("profile", error)
        return
    try:
        with systems:
            yield from machine.examine(systems)
            yield from _home(systems, declared, segments)
            for segment in segments:
                yield from _log(systems, declared, segment)
                yield from _source(segment)
                yield from _lanes(systems, declared, segment)
    except PenstockError as error:
        yield refusal("services", error)


def _home(systems: Systems, declared: Pipeline, segments: tuple[Segment, ...]) -> Iterator[Finding]:
    try:
        with systems.home("check") as home, home.transaction() as cursor:
            held = {str(holder) for holder in leases.holders(cursor, declared.name)}
            changes = contracts.changes(cursor, declared.name, segments)
            keys = mask_keys.changed(cursor, declared.name, segments)
            wrong = contracts.disagreements(cursor, declared.name, segments)
    except PenstockError as error:
        yield refusal("home", error)
        return
    yield Finding("home", "good", "answers")
    for holder in sorted(held):
        yield Finding("leases", "change", f"held by {holder}; a run would stand by")
    yield from map(_contract, changes)
    yield from (Finding("masks", "refused", words) for words in keys)
    yield from (Finding("contracts", "refused", words) for words in wrong)


def _contract(change: contracts.Change) -> Finding:
    if change.breaking:
        readers = f" (read by {', '.join(change.readers)})" if change.readers else ""
        return Finding(change.name, "refused", "; ".join(change.breaking) + readers)
    news = "; ".join(change.compatible) or "keep the first version of its contract"
    return Finding(change.name, "change", news)


def _log(systems: Systems, declared: Pipeline, segment: Segment) -> Iterator[Finding]:
    """Landings, topics that others write, and the identity of what was read before."""
    system = f"{segment.kind} {segment.name}"
    try:
        tables_at = systems.tables_of(segment)
        log_id = _table(tables_at, declared, segment) if tables_at else systems.topic_id(segment)
        if log_id is not None:
            with systems.home("check") as home, home.transaction() as cursor:
                identities.recognise(cursor, declared.name, segment.name, log_id)
                raise psycopg.Rollback  # a check remembers nothing
    except PenstockError as error:
        yield refusal(system, error)
        return
    if log_id is not None:
        kept = partial(_lost, systems, declared, segment, log_id)
        yield from looked_at(system, "as it should be", kept)
    elif segment.kind == "landing" or segment.external:
        yield Finding(system, "change", f"create {segment.kind} {segment.name!r}")
    # else it is what the lane that writes it creates, and says so


def _lost(systems: Systems, declared: Pipeline, segment: Segment, log_id: str) -> Iterable[str]:
    """Refuse as a run would when the topic has not kept what a lane reads next."""
    if segment.kind == "landing":
        return ()
    log = systems.topic(segment.name)
    try:
        for lane in segment.lanes:
            key = LaneKey(declared.name, log_id, segment.name, lane.name)
            if nexts := _nexts(systems, lane, key):
                log.read(nexts, Limits(1, 1))
    finally:
        log.close()
    return ()


def _nexts(systems: Systems, lane: Lane, key: LaneKey) -> dict[int, int]:
    """Where a lane reads on; nothing when its store is away, as the lane's own line says."""
    sink = systems.sink(lane, key)
    try:
        stands = sink.progress()
    except (Refused, Unavailable):
        return {}
    finally:
        sink.close()
    return {p: stand.next for p, stand in stands.items() if p != plan.REPLAY and stand.next}


def _table(url: str, declared: Pipeline, segment: Segment) -> str | None:
    with connection.connect(url, name="check") as session, connection.errors():
        found = tables.find(session, segment.kind, segment.name)
    if found and segment.kind == "landing" and found.pipeline != declared.name:
        raise Refused(f"belongs to pipeline {found.pipeline!r}; choose another name with land=")
    return found.log_id if found else None


def _source(segment: Segment) -> Iterator[Finding]:
    source = segment.source
    if source is not None:

        def look() -> Iterable[str]:
            return source.check() or ()

        yield from looked_at(f"source of {segment.name}", source.describe(), look)


def _lanes(systems: Systems, declared: Pipeline, segment: Segment) -> Iterator[Finding]:
    for lane in segment.lanes:
        if lane.mode == "topic" and lane.codec.format != JSON:
            schema = partial(lane.codec.preview, lane.spec)
            yield from looked_at(f"registry of {lane.table}", "registered", schema)

        def look() -> Iterable[str]:
            key = LaneKey(declared.name, "", segment.name, lane.name)  # noqa: B023 - called at once
            sink = systems.sink(lane, key)  # noqa: B023
            try:
                return list(sink.preview())
            finally:
                sink.close()

        yield from looked_at(lane.name, f"{lane.mode}, as it should be", look)
