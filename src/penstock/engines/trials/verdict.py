"""Judges a crash-tested pipeline: ledger and rows, and a calm run on the same recorded input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from penstock import plan
from penstock.contract import encode, encode_key, synthetic
from penstock.engines.embedded import Embedded
from penstock.engines.options import Options
from penstock.engines.planning import CHANGED
from penstock.engines.reconciling.reconcile import reconcile
from penstock.engines.systems import Systems
from penstock.engines.trials import ground
from penstock.engines.trials.filling import fill
from penstock.errors import PenstockError
from penstock.home import deadletters, replays
from penstock.home.deadletters import Selection
from penstock.logs.paging import pages
from penstock.postgresql import connection
from penstock.profile import JSON, Store
from penstock.profile.apart import moved
from penstock.records import LaneKey, Limits
from penstock.serdes import formats

if TYPE_CHECKING:
    from penstock.engines.trials.ground import Ground
    from penstock.pipeline import Pipeline
    from penstock.plan import Lane, Segment

_LIMITS = Limits(records=5_000, bytes=16 << 20)


def fill_topics(laid: Ground, program: Path, rows: int, seed: int) -> None:
    """Write synthetic records to the topics that others would write."""
    pipeline = laid.load(program)
    segments = plan.compile(pipeline, formats.codecs(laid.profile))
    external = [segment for segment in segments if segment.external]
    with Systems(laid.profile, pipeline.name, laid.root) as systems:
        for segment in external:
            records = _records(segment, synthetic(segment.spec, rows, seed))
            fill(systems, segment, segment.partitions or 1, [records])


def _records(segment: Segment, frame: pl.DataFrame) -> pl.DataFrame:
    segment.codec.register(segment.spec)
    records = pl.DataFrame({"value": segment.codec.encode(segment.spec, frame)})
    if not segment.key:
        return records
    return records.with_columns(key=encode_key(segment.spec, segment.key, frame))


def judge(laid: Ground, program: Path, *, changed: bool) -> list[str]:
    """Finish what is left calmly, then compare; returns what is wrong.

    Args:
        laid: Where the crashed runs worked.
        program: The version of the program that ran last.
        changed: Whether other versions ran, too: their rows are what they were, so only the
            ledger and the rows of this version can be compared.
    """
    # what a cluster began, one process finishes
    laid = replace(laid, profile=replace(laid.profile, engine=None))
    pipeline = laid.load(program)
    calm = Options(until_idle=True, sources=False, take_over=True, variant=0)
    with Systems(laid.profile, pipeline.name, laid.root) as systems:
        try:
            Embedded(pipeline, laid.profile, calm, root=laid.root).run()
            if _replay_changed(pipeline.name, systems):
                Embedded(pipeline, laid.profile, calm, root=laid.root).run()
        except PenstockError as error:
            return [f"the program cannot go on after the blows: {error}"]
        segments = plan.compile(pipeline, formats.codecs(laid.profile))
        report = reconcile(pipeline.name, segments, systems, deep=True)
        wrong = list(report.differences)
        if not changed:
            wrong += _against_calm(pipeline, segments, systems, laid)
        return wrong


def _replay_changed(pipeline: str, systems: Systems) -> bool:
    """Send back what died only because the maps seemed changed; says whether there was any."""
    letters = 0
    with systems.home("crashtest") as home, home.transaction() as cursor:
        for group in deadletters.causes(cursor, Selection(pipeline)):
            if group.cause.rule == CHANGED.rule:
                chosen = Selection(pipeline, cause=group.id)
                letters += replays.replay(cursor, chosen, by="crashtest").letters
    return letters > 0


def _against_calm(
    pipeline: Pipeline, segments: Sequence[Segment], systems: Systems, laid: Ground
) -> list[str]:
    """Run the pipeline on a copy of its input in a database of its own, and compare the rows."""
    lanes = [lane for segment in segments for lane in segment.lanes]
    tables = [lane for lane in lanes if lane.mode != "topic"]
    mixed = _mixed(segments)
    written = {lane.table for lane in lanes if lane.mode == "topic"}
    given = [segment for segment in segments if segment.name not in written]
    place = connection.split(moved(systems.home_url, "calm"))[0]
    join = "&" if "?" in place else "?"
    stores = {lane.store: f"{place}{join}schema={quote(lane.store, safe='')}" for lane in tables}
    calm = replace(
        laid.profile,
        name="calm",
        home=place,
        log=place,
        stores={name: Store(name, url) for name, url in stores.items()},
        format=JSON,
        formats={segment.name: laid.profile.format_of(segment.name) for segment in given},
    )
    with ground.made(place, systems.home_url), Systems(calm, pipeline.name) as other:
        for segment in given:
            _copy(segment, systems, other)
        Embedded(pipeline, calm, Options(until_idle=True, sources=False, variant=0)).run()
        return [
            words
            for segment in segments
            for lane in segment.lanes
            if lane.mode != "topic"
            for words in _compared(lane, systems, other, mixed=segment.name in mixed)
        ]


def _mixed(segments: Sequence[Segment]) -> set[str]:
    """Topics in which records of several writers stand, so that no two runs have one order."""
    mixed: set[str] = set()
    for segment in segments:
        found = (lane for lane in segment.lanes if lane.mode == "topic")
        mixed |= {lane.table for lane in found if lane.shared or segment.name in mixed}
    return mixed


def _copy(segment: Segment, source: Systems, target: Systems) -> None:
    """Copy a log, byte for byte, with the times of birth."""
    with closing(source.log(segment)) as log:
        fill(target, segment, len(log.spans()), pages(log, _LIMITS))


def _compared(lane: Lane, crashed: Systems, calm: Systems, *, mixed: bool) -> Iterator[str]:
    if mixed and lane.mode == "upsert":
        return  # which row is the newest, each run's topic says: the deep comparison went by it
    found, wanted = (_table(lane, systems, placed=not mixed) for systems in (crashed, calm))
    if found.equals(wanted):
        return
    where = f"table {lane.table!r} of store {lane.store!r}"
    if found.height != wanted.height:
        yield f"{where} has {found.height} rows, after a calm run it has {wanted.height}"
        return
    rows = zip(found.iter_rows(named=True), wanted.iter_rows(named=True), strict=True)
    pair = next((a, b) for a, b in rows if a != b)
    yield f"{where} has the row {pair[0]}, after a calm run it is {pair[1]}"


def _table(lane: Lane, systems: Systems, *, placed: bool) -> pl.DataFrame:
    """A table's rows in the order of what names them; order stamps differ from run to run.

    If they are not `placed`, positions differ, too, and their values order them.
    """
    sink = systems.sink(lane, LaneKey(systems.pipeline, "", "", lane.name))
    try:
        frames = list(sink.positions())
    finally:
        sink.close()
    if not frames:
        return pl.DataFrame()
    if not placed:
        return pl.concat(encode(lane.spec, frame) for frame in frames).sort().to_frame("row")
    by = list(lane.key) if lane.mode == "upsert" else ["_partition", "_offset", "_index"]
    # A log other than PostgreSQL's skips offsets, but keeps the order.
    return pl.concat(frames).sort(by).drop("_order", "_offset", strict=False)
