"""Keeps home small: old neighbours in the ledger are merged, to the row."""

from __future__ import annotations

from dataclasses import dataclass, fields

from psycopg import sql

from penstock.home.database import Cursor
from penstock.records import Counts


@dataclass(frozen=True)
class Age:
    """Entries older than `seconds` are merged to at most one for each `slot` seconds."""

    seconds: float
    slot: float


AGES = (Age(120, 60), Age(86_400, 3_600))
"""Minutes after two minutes, hours after a day."""


def tidy(cursor: Cursor, ages: tuple[Age, ...] = AGES) -> None:
    """Merge what has become old: every minute or so, by any process, in its own transaction.

    Args:
        cursor: In a transaction on home. Does nothing while another process is at it.
        ages: How coarse the ledger becomes with age. Counts and histograms stay exact.
    """
    cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('penstock upkeep'))")
    if not next(iter(cursor))[0]:
        return
    for age in ages:
        cursor.execute(_MERGE, vars(age))


_COUNTS = tuple(f.name for f in fields(Counts))

# Neighbours are merged when one plan made them in one slot and nothing is missing between them; a
# slot is begun anew when the clock jumped back. What is merged is exactly what was deleted.
_MERGE = sql.SQL("""
    WITH old AS (
        SELECT lane, partition, start_offset,
            date_bin(make_interval(secs => %(slot)s), closed_at, 'epoch') AS slot,
            start_offset = lag(end_offset) OVER place AND plan = lag(plan) OVER place
            AND date_bin(make_interval(secs => %(slot)s), closed_at, 'epoch')
                = lag(date_bin(make_interval(secs => %(slot)s), closed_at, 'epoch')) OVER place
                AS joins
        FROM penstock.ledger
        WHERE closed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
        WINDOW place AS (PARTITION BY lane, partition ORDER BY start_offset)
    ), numbered AS (
        SELECT lane, partition, start_offset,
            count(*) FILTER (WHERE joins IS NOT true)
                OVER (PARTITION BY lane, partition ORDER BY start_offset) AS island
        FROM old
    ), merging AS (
        SELECT *, count(*) OVER (PARTITION BY lane, partition, island) AS size FROM numbered
    ), gone AS (
        DELETE FROM penstock.ledger USING merging
        WHERE size > 1 AND ledger.lane = merging.lane AND ledger.partition = merging.partition
            AND ledger.start_offset = merging.start_offset
        RETURNING ledger.*, island
    ), buckets AS (
        SELECT lane, partition, island, stage, bucket, sum(counted::bigint) AS counted
        FROM gone, jsonb_each(timings) AS stages (stage, histogram),
            jsonb_each_text(histogram) AS found (bucket, counted)
        GROUP BY lane, partition, island, stage, bucket
    ), histograms AS (
        SELECT lane, partition, island, stage, jsonb_object_agg(bucket, counted) AS histogram
        FROM buckets GROUP BY lane, partition, island, stage
    ), merged AS (
        SELECT lane, partition, island, jsonb_object_agg(stage, histogram) AS timings
        FROM histograms GROUP BY lane, partition, island
    )
    INSERT INTO penstock.ledger (lane, partition, start_offset, end_offset, {columns},
        batches, timings, plan, opened_at, closed_at)
    SELECT lane, partition, min(start_offset), max(end_offset), {sums}, sum(batches),
        coalesce((SELECT merged.timings FROM merged WHERE merged.lane = gone.lane
            AND merged.partition = gone.partition AND merged.island = gone.island), '{{}}'),
        min(plan), min(opened_at), max(closed_at)
    FROM gone GROUP BY lane, partition, island
""").format(
    columns=sql.SQL(", ").join(map(sql.Identifier, _COUNTS)),
    sums=sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier(name)) for name in _COUNTS),
)
