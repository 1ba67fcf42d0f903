"""What home knows of pipelines, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from penstock.cli import drawing, text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.home.leases import Holder
    from penstock.home.state import LaneState, PipelineState, SegmentState
    from penstock.records import Counts


def document(found: PipelineState) -> dict[str, Any]:
    """A pipeline as `status --json` prints it."""
    return {
        "pipeline": found.pipeline,
        "at": found.at.isoformat(),
        "segments": [_segment(segment) for segment in found.segments],
        "contracts": [
            {"name": c.name, "version": c.version, "first_seen": c.first_seen.isoformat()}
            for c in found.contracts
        ],
    }


def _segment(segment: SegmentState) -> dict[str, Any]:
    return {
        "segment": segment.segment,
        "kind": segment.kind,
        "log": segment.log_id,
        "holders": [_holder(holder) for holder in segment.holders],
        "ingest": _holder(segment.ingest) if segment.ingest else None,
        "open_batches": len(segment.open_batches),
        "letters": letters(segment),
        "lanes": [_lane(segment, lane) for lane in segment.lanes],
    }


def _holder(holder: Holder) -> dict[str, Any]:
    return {
        "partition": holder.partition,
        "epoch": holder.epoch,
        "host": holder.host,
        "process": holder.pid,
        "since": holder.since.isoformat(),
    }


def _lane(segment: SegmentState, lane: LaneState) -> dict[str, Any]:
    return {
        "lane": lane.lane,
        "store": lane.store,
        "target": lane.target,
        "mode": lane.mode,
        "current": lane.current,
        "next": {str(partition): tail.next for partition, tail in lane.partitions.items()},
        "behind": behind(segment, lane),
        "replays_to_go": segment.replays - (lane.replay.next if lane.replay else 0),
        "counts": asdict(totals(lane)),
        "records_per_second": lane.recent.records,
        "p50": lane.recent.latency.percentile(0.5),
        "p99": lane.recent.latency.percentile(0.99),
        "closed_at": lane.recent.closed_at.isoformat() if lane.recent.closed_at else None,
    }


def totals(lane: LaneState) -> Counts:
    """Counts of all records so far, replays included."""
    return lane.totals + lane.replay.totals if lane.replay else lane.totals


def letters(segment: SegmentState) -> dict[str, int]:
    """How many letters of a segment are in which state."""
    counts: dict[str, int] = {}
    for cause in segment.causes:
        for state, number in cause.states.items():
            counts[state] = counts.get(state, 0) + number
    return counts


def behind(segment: SegmentState, lane: LaneState) -> int:
    """Offsets that the foremost lane of the segment has done and this one has not."""
    foremost: dict[int, int] = {}
    for other in segment.lanes:
        for partition, tail in other.partitions.items():
            foremost[partition] = max(foremost.get(partition, 0), tail.next)
    mine = {partition: tail.next for partition, tail in lane.partitions.items()}
    return sum(most - mine.get(partition, 0) for partition, most in foremost.items())


def drawn(found: Sequence[PipelineState]) -> RenderableType:
    """Pipelines for people."""
    from rich.console import Group

    if not found:
        return "home knows no pipeline yet"
    return Group(*(part for one in found for part in _pipeline(one)))


def _pipeline(found: PipelineState) -> Iterator[RenderableType]:
    yield drawing.words(f"pipeline {found.pipeline}", "bold")
    for segment in found.segments:
        yield drawing.words(f"{segment.segment} ({segment.kind}): {_work(segment)}")
    yield _lanes(found)
    waiting = [
        f"{n} {state}" for segment in found.segments for state, n in letters(segment).items()
    ]
    if waiting:
        yield drawing.words(f"dead letters: {', '.join(waiting)}; see `penstock deadletters list`")


def _work(segment: SegmentState) -> str:
    who = sorted({str(holder) for holder in segment.holders})
    words = [f"worked on by {'; '.join(who)}" if who else "nobody works on it"]
    if segment.ingest is not None:
        words.append(f"polled by {segment.ingest}")
    if segment.open_batches and not who:
        words.append(f"{len(segment.open_batches)} open batches will be run again")
    return ", ".join(words)


def _lanes(found: PipelineState) -> RenderableType:
    lanes = [(segment, lane) for segment in found.segments for lane in segment.lanes]
    fates = text.fates(totals(lane) for _, lane in lanes)
    figures = ("records", *fates, "behind", "records/s", "p50", "p99")
    table = drawing.table("lane", *figures, right=figures)
    names = text.names((segment.segment, lane.lane) for segment, lane in lanes)
    for segment, lane in lanes:
        name, counts = names[segment.segment, lane.lane], totals(lane)
        cells = [text.records(counts), *(getattr(counts, fate) for fate in fates)]
        table.add_row(
            drawing.words(name if lane.current else f"{name} (former)"),
            *map(text.count, (*cells, behind(segment, lane))),
            text.rate(lane.recent.records),
            text.seconds(lane.recent.latency.percentile(0.5)),
            text.seconds(lane.recent.latency.percentile(0.99)),
        )
    return table
