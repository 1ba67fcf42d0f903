"""All that home knows of a pipeline at one moment: what `status` and the console show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from penstock.home import batches, contracts, deadletters, leases
from penstock.home.batches import OpenBatch
from penstock.home.database import Cursor
from penstock.home.deadletters import CauseGroup, Selection
from penstock.home.latency import Histogram
from penstock.home.leases import Holder
from penstock.home.ledger import VISIBLE, Tail, tails
from penstock.records import Counts

SOURCE_PREFIX = "source:"
"""A source's leases are held under this and the name of its landing."""


@dataclass(frozen=True)
class Recent:
    """What a lane did lately, by the ledger.

    Args:
        records: Records per second.
        latency: From born to visible.
        closed_at: When its last entry was made.
    """

    records: float = 0.0
    latency: Histogram = field(default_factory=Histogram)
    closed_at: datetime | None = None


@dataclass(frozen=True)
class LaneState:
    """A lane, by the ledger.

    Args:
        lane: Its name.
        store: The store it writes to.
        target: The table or topic.
        mode: `append`, `upsert` or `topic`.
        current: Whether the program has it still.
        partitions: For each partition of the log where the lane stands, and its counts so far.
            Its lag is the log's end less this.
        replay: The same for the replay log; None when it has none.
        recent: What it did lately.
    """

    lane: str
    store: str
    target: str
    mode: str
    current: bool
    partitions: Mapping[int, Tail]
    replay: Tail | None
    recent: Recent

    @property
    def totals(self) -> Counts:
        """Counts over all partitions, without replays."""
        return sum((tail.totals for tail in self.partitions.values()), Counts())


@dataclass(frozen=True)
class SegmentState:
    """A segment: its lanes, who works on it, what is under way and what is dead.

    Args:
        segment: Name of the log it reads.
        kind: `landing` or `topic`.
        log_id: The log's identity; None before the first run.
        lanes: In the program's order.
        holders: Who holds its partitions.
        ingest: Who polls the source of a landing; None when nobody does.
        open_batches: Oldest first.
        replays: End of its replay log: entries below it that a lane has not passed wait for it.
        causes: Its letters by cause, the most frequent first.
    """

    segment: str
    kind: str
    log_id: str | None
    lanes: tuple[LaneState, ...]
    holders: tuple[Holder, ...]
    ingest: Holder | None
    open_batches: tuple[OpenBatch, ...]
    replays: int
    causes: tuple[CauseGroup, ...]


@dataclass(frozen=True)
class PipelineState:
    """A pipeline at the moment `at`, by the server's clock."""

    pipeline: str
    at: datetime
    segments: tuple[SegmentState, ...]
    contracts: tuple[contracts.Version, ...]


def read(cursor: Cursor, pipeline: str, *, window: float = 60.0) -> PipelineState:
    """Read the state of a pipeline; one that home does not know has no segments.

    Args:
        cursor: In a transaction on home.
        pipeline: Which.
        window: Seconds to look back for rates and latencies.
    """
    cursor.execute("SELECT clock_timestamp()")
    at = next(iter(cursor))[0]
    letters = deadletters.causes(cursor, Selection(pipeline))
    held = leases.holders(cursor, pipeline)
    lanes = _lanes(cursor, pipeline, window)
    segments = tuple(
        SegmentState(
            segment=name,
            kind=kind,
            log_id=log_id,
            lanes=tuple(lanes[name]),
            holders=tuple(holder for holder in held if holder.segment == name),
            ingest=next((one for one in held if one.segment == SOURCE_PREFIX + name), None),
            open_batches=tuple(batches.open_batches(cursor, pipeline, name)),
            replays=replays,
            causes=tuple(group for group in letters if group.segment == name),
        )
        for name, kind, log_id, replays in _segments(cursor, pipeline)
    )
    return PipelineState(pipeline, at, segments, tuple(contracts.versions(cursor, pipeline)))


def _segments(cursor: Cursor, pipeline: str) -> list[tuple[str, str, str | None, int]]:
    cursor.execute(
        "SELECT programs.segment, min(kind), min(known_logs.log_id),"
        ' coalesce((SELECT max("offset") + 1 FROM penstock.replays'
        "  WHERE replays.pipeline = min(programs.pipeline) AND replays.segment = programs.segment"
        "  AND replays.log_id = min(known_logs.log_id)), 0)"
        " FROM penstock.programs LEFT JOIN penstock.known_logs"
        "  ON known_logs.pipeline = programs.pipeline AND known_logs.name = programs.segment"
        " WHERE programs.pipeline = %s GROUP BY programs.segment"
        " ORDER BY bool_or(current) DESC, min(place)",
        [pipeline],
    )
    return cursor.fetchall()


def _lanes(cursor: Cursor, pipeline: str, window: float) -> dict[str, list[LaneState]]:
    standing = tails(cursor, pipeline)
    recent = _recent(cursor, pipeline, window)
    cursor.execute(
        "SELECT programs.segment, known_logs.log_id, lane, store, target, mode, current"
        " FROM penstock.programs LEFT JOIN penstock.known_logs"
        "  ON known_logs.pipeline = programs.pipeline AND known_logs.name = programs.segment"
        " WHERE programs.pipeline = %s ORDER BY current DESC, place",
        [pipeline],
    )
    found: dict[str, list[LaneState]] = {}
    for segment, log_id, lane, store, target, mode, current in cursor:
        mine = {
            (key.log_id, partition): tail
            for (key, partition), tail in standing.items()
            if (key.segment, key.lane) == (segment, lane)
        }
        partitions = {p: tail for (log, p), tail in mine.items() if log == log_id}
        replay = next((t for (log, _), t in mine.items() if log == f"replay:{log_id}"), None)
        found.setdefault(segment, []).append(
            LaneState(
                lane=lane,
                store=store,
                target=target,
                mode=mode,
                current=current,
                partitions=partitions,
                replay=replay,
                recent=recent.get((segment, lane), Recent()),
            )
        )
    return found


def _recent(cursor: Cursor, pipeline: str, window: float) -> dict[tuple[str, str], Recent]:
    cursor.execute(_RECENT, {"pipeline": pipeline, "window": window, "timing": VISIBLE})
    return {
        (segment, lane): Recent(records / window, Histogram.from_json(buckets or {}), closed_at)
        for segment, lane, records, buckets, closed_at in cursor
    }


_RECENT = """
    WITH entries AS (
        SELECT lanes.segment, lanes.lane, records, timings -> %(timing)s AS buckets, closed_at
        FROM penstock.ledger JOIN penstock.lanes ON lanes.id = ledger.lane
        WHERE lanes.pipeline = %(pipeline)s
            AND closed_at > clock_timestamp() - make_interval(secs => %(window)s)
    ), histograms AS (
        SELECT segment, lane, jsonb_object_agg(bucket, counted) AS buckets
        FROM (
            SELECT segment, lane, bucket, sum(counted::bigint) AS counted
            FROM entries, jsonb_each_text(buckets) AS found (bucket, counted)
            GROUP BY segment, lane, bucket
        ) AS summed GROUP BY segment, lane
    )
    SELECT segment, lane, sum(records)::bigint, max(buckets.buckets::text)::jsonb, max(closed_at)
    FROM entries LEFT JOIN histograms AS buckets USING (segment, lane)
    GROUP BY segment, lane
"""
