"""Which lanes a pipeline's current program has: for retention, for `status`, for who reads what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from penstock.home.database import Cursor
from penstock.interfaces import Framing

if TYPE_CHECKING:
    from penstock.plan import Segment


def register(cursor: Cursor, pipeline: str, segments: Sequence[Segment]) -> None:
    """Say what the program has now; lanes that it no longer has are kept as former ones.

    A former lane holds back no retention and no open batch; if it comes back, it goes on where
    its store says it stands.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose program.
        segments: All of it.
    """
    lanes = [(segment, lane) for segment in segments for lane in segment.lanes]
    given = {
        "pipeline": pipeline,
        "segments": [segment.name for segment, _ in lanes],
        "kinds": [segment.kind for segment, _ in lanes],
        "lanes": [lane.name for _, lane in lanes],
        "stores": [lane.store for _, lane in lanes],
        "targets": [lane.table for _, lane in lanes],
        "modes": [lane.mode for _, lane in lanes],
        "framings": [Jsonb(asdict(segment.framing)) for segment, _ in lanes],
    }
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('penstock programs'))")
    cursor.execute(_REGISTER, given)
    cursor.execute(_RETIRE, given)
    cursor.execute(_LEAVE_BATCHES, {"pipeline": pipeline})
    cursor.execute("DELETE FROM penstock.batches WHERE pipeline = %s AND lanes = '{}'", [pipeline])


_REGISTER = """
    INSERT INTO penstock.programs AS known
        (pipeline, segment, kind, lane, store, target, mode, framing, place, current)
    SELECT %(pipeline)s, given.*, true
    FROM unnest(%(segments)s::text[], %(kinds)s::text[], %(lanes)s::text[], %(stores)s::text[],
        %(targets)s::text[], %(modes)s::text[], %(framings)s::jsonb[]) WITH ORDINALITY AS given
    ON CONFLICT (pipeline, segment, lane) DO UPDATE
    SET kind = excluded.kind, store = excluded.store, target = excluded.target,
        mode = excluded.mode, framing = excluded.framing, place = excluded.place, current = true,
        changed_at = CASE WHEN known.current THEN known.changed_at ELSE excluded.changed_at END
"""

_RETIRE = """
    UPDATE penstock.programs AS known SET current = false, changed_at = now()
    WHERE pipeline = %(pipeline)s AND current AND NOT EXISTS (
        SELECT FROM unnest(%(segments)s::text[], %(lanes)s::text[]) AS given (segment, lane)
        WHERE given.segment = known.segment AND given.lane = known.lane)
"""

_LEAVE_BATCHES = """
    UPDATE penstock.batches SET lanes = ARRAY(
        SELECT lane FROM unnest(lanes) AS lane WHERE EXISTS (
            SELECT FROM penstock.programs WHERE programs.pipeline = batches.pipeline
                AND programs.segment = batches.segment AND programs.lane = lane.lane
                AND programs.current))
    WHERE pipeline = %(pipeline)s AND EXISTS (
        SELECT FROM penstock.programs WHERE programs.pipeline = batches.pipeline
            AND programs.segment = batches.segment AND programs.lane = ANY(batches.lanes)
            AND NOT programs.current)
"""


def pipelines(cursor: Cursor) -> list[str]:
    """Name the pipelines that home knows.

    Args:
        cursor: In a transaction on home.
    """
    cursor.execute("SELECT DISTINCT pipeline FROM penstock.programs ORDER BY pipeline")
    return [name for (name,) in cursor]


def framings(cursor: Cursor, pipeline: str) -> dict[str, Framing]:
    """Tell how records lie in the values of each log that a pipeline reads, or has read.

    Args:
        cursor: In a transaction on home.
        pipeline: Which.
    """
    cursor.execute(
        "SELECT segment, framing FROM penstock.programs WHERE pipeline = %s ORDER BY current",
        [pipeline],
    )
    return {segment: _framing(found) for segment, found in cursor}


def _framing(kept: Mapping[str, Any]) -> Framing:
    """Read what `asdict` and JSON made of a framing: tuples became lists."""
    found: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Framing(**found)


def needed(cursor: Cursor, log_id: str, partitions: Sequence[int]) -> dict[int, int]:
    """Tell from which offset on the lanes of current programs still need a log.

    Args:
        cursor: In a transaction on home.
        log_id: The log's identity.
        partitions: Which of its partitions.

    Returns:
        For each partition the least offset that a lane has not passed, by the ledger; no
        partition at all when no current program reads the log.
    """
    cursor.execute(
        "SELECT given.partition, min(coalesce(tails.end_offset, 0))"
        " FROM penstock.known_logs JOIN penstock.programs ON programs.current"
        "  AND programs.pipeline = known_logs.pipeline AND programs.segment = known_logs.name"
        " CROSS JOIN unnest(%s::int[]) AS given (partition)"
        " LEFT JOIN penstock.lanes ON lanes.pipeline = programs.pipeline"
        "  AND lanes.log_id = known_logs.log_id AND lanes.segment = programs.segment"
        "  AND lanes.lane = programs.lane"
        " LEFT JOIN penstock.tails ON tails.lane = lanes.id AND tails.partition = given.partition"
        " WHERE known_logs.log_id = %s GROUP BY given.partition",
        [list(partitions), log_id],
    )
    return dict(cursor.fetchall())
