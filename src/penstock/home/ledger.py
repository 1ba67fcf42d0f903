"""The ledger: what became of every record, by lane, partition and span of offsets.

Its numbers are differences of the totals that the sinks committed with their progress, never a
recomputation. So a crash between a sink's commit and the ledger's is made good by the next close,
and so is a home restored from an older backup. Spans are contiguous: one begins where the one
before it ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from penstock.home import lanes
from penstock.home.database import Cursor
from penstock.home.latency import Histogram
from penstock.records import Counts, LaneKey, Progress, Span

VISIBLE = "visible"
"""The timing from born to visible in the store, one count for each record; every other timing is
named after a stage of the work and has one count for each micro-batch."""

_COUNTS = tuple(f.name for f in fields(Counts))
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, _COUNTS))
_TOTALS = sql.SQL(", ").join(map(sql.Placeholder, _COUNTS))
_DIFFERENCES = sql.SQL(", ").join(
    sql.SQL("{} - {}").format(sql.Placeholder(name), sql.Identifier(name)) for name in _COUNTS
)


@dataclass(frozen=True)
class Closing:
    """A lane's commit in one partition, to be entered.

    Args:
        key: The lane.
        partition: Which.
        progress: As the sink stored it, or as `claim` said.
        timings: Histograms by stage; `VISIBLE` is the one people ask for.
        opened_at: When the micro-batch was opened.
    """

    key: LaneKey
    partition: int
    progress: Progress
    timings: Mapping[str, Histogram] = field(default_factory=dict)
    opened_at: datetime | None = None


@dataclass(frozen=True)
class Tail:
    """Where the ledger of a lane and partition ends, and the counts of everything before."""

    next: int
    totals: Counts


@dataclass(frozen=True)
class Entry:
    """What became of the records of a span; `batches` closes were merged into it."""

    span: Span
    counts: Counts
    batches: int
    timings: Mapping[str, Histogram]
    plan: str
    opened_at: datetime | None
    closed_at: datetime

    @property
    def balanced(self) -> bool:
        """Whether every offset of the span and every record of it is accounted for."""
        held = self.counts.records + self.counts.absent
        return held == len(self.span) and self.counts.balanced


_CREATE = (
    "INSERT INTO penstock.tails (lane, partition) VALUES (%(lane)s, %(partition)s)"
    " ON CONFLICT DO NOTHING"
)

_CLOSE = sql.SQL("""
    WITH tail AS MATERIALIZED (
        SELECT * FROM penstock.tails
        WHERE lane = %(lane)s AND partition = %(partition)s AND end_offset < %(next)s FOR UPDATE
    ), moved AS (
        UPDATE penstock.tails SET end_offset = %(next)s, ({columns}) = ({totals})
        FROM tail WHERE tails.lane = tail.lane AND tails.partition = tail.partition
    )
    INSERT INTO penstock.ledger (lane, partition, start_offset, end_offset, {columns},
        batches, timings, plan, opened_at, closed_at)
    SELECT lane, partition, end_offset, %(next)s, {differences},
        1, %(timings)s, %(plan)s, %(opened_at)s, clock_timestamp()
    FROM tail
""").format(columns=_COLUMNS, totals=_TOTALS, differences=_DIFFERENCES)


def close(cursor: Cursor, closings: Sequence[Closing]) -> None:
    """Enter what sinks committed: the difference to what the ledger has of each lane so far.

    What it has already is left alone, so closing twice, or late by a process that was only
    asleep, changes nothing.

    Args:
        cursor: In a transaction on home, the one that closes the batch.
        closings: Of any lanes and partitions.
    """
    if not closings:
        return
    numbers = lanes.numbers(cursor, {closing.key for closing in closings})
    rows = [_row(closing, numbers[closing.key]) for closing in closings]
    # In one order everywhere, so that two closers never wait for each other in a circle.
    rows.sort(key=lambda row: (row["lane"], row["partition"], row["next"]))
    cursor.executemany(_CREATE, rows)
    cursor.executemany(_CLOSE, rows)


def align(cursor: Cursor, closings: Sequence[Closing]) -> list[Closing]:
    """Make the ledger agree with what `claim` found in the stores, whichever of them is behind.

    A ledger behind (a crash between the commits, a home restored from a backup) is brought up by
    one entry. A store behind (restored from a backup) has its lane's later entries taken back: its
    records will be written, and counted, again; letters among them are pending once more.

    Args:
        cursor: In a transaction on home.
        closings: Progress as claimed: no other process may move it any more.

    Returns:
        Those whose store was behind.
    """
    numbers = lanes.numbers(cursor, {closing.key for closing in closings})
    behind = []
    for closing in closings:
        row = _row(closing, numbers[closing.key])
        cursor.execute(_LOCK_LATER, row)
        if cursor.rowcount:
            cursor.execute(_TAKE_BACK, row)
            behind.append(closing)
    close(cursor, closings)
    return behind


_LOCK_LATER = (
    "SELECT FROM penstock.tails WHERE lane = %(lane)s AND partition = %(partition)s"
    " AND end_offset > %(next)s FOR UPDATE"
)

_TAKE_BACK = sql.SQL("""
    WITH taken AS (
        DELETE FROM penstock.ledger
        WHERE lane = %(lane)s AND partition = %(partition)s AND end_offset > %(next)s
        RETURNING *
    ), before AS (
        -- Where the taken entries began, and the totals there.
        SELECT (SELECT min(start_offset) FROM taken) AS start_offset, {before}
        FROM penstock.tails WHERE lane = %(lane)s AND partition = %(partition)s
    ), part AS (
        -- Of an entry that reaches across, the part that the store still has.
        INSERT INTO penstock.ledger (lane, partition, start_offset, end_offset, {columns},
            batches, timings, plan, opened_at, closed_at)
        SELECT %(lane)s, %(partition)s, start_offset, %(next)s, {differences},
            1, '{{}}', %(plan)s, NULL, clock_timestamp()
        FROM before WHERE start_offset < %(next)s
    )
    UPDATE penstock.tails SET end_offset = %(next)s, ({columns}) = ({totals})
    WHERE lane = %(lane)s AND partition = %(partition)s
""").format(
    columns=_COLUMNS,
    totals=_TOTALS,
    differences=_DIFFERENCES,
    before=sql.SQL(", ").join(
        sql.SQL("{0} - (SELECT sum({0}) FROM taken) AS {0}").format(sql.Identifier(name))
        for name in _COUNTS
    ),
)


def _row(closing: Closing, lane: int) -> dict[str, object]:
    timings = {name: histogram.to_json() for name, histogram in closing.timings.items()}
    return {
        **vars(closing.progress.totals),
        "lane": lane,
        "partition": closing.partition,
        "next": closing.progress.next,
        "timings": Jsonb(timings),
        "plan": closing.progress.plan,
        "opened_at": closing.opened_at,
    }


def tails(cursor: Cursor, pipeline: str) -> dict[tuple[LaneKey, int], Tail]:
    """Tell where the ledger of each lane and partition of a pipeline ends.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose; all its lanes, also those that its program no longer has.
    """
    cursor.execute(
        sql.SQL(
            "SELECT pipeline, log_id, segment, lanes.lane, partition, end_offset, {}"
            " FROM penstock.tails JOIN penstock.lanes ON lanes.id = tails.lane"
            " WHERE pipeline = %s"
        ).format(_COLUMNS),
        [pipeline],
    )
    return {(LaneKey(*row[:4]), row[4]): Tail(row[5], Counts(*row[6:])) for row in cursor}


def entries(
    cursor: Cursor, key: LaneKey, partition: int, *, since: datetime | None = None
) -> list[Entry]:
    """List a lane's entries in one partition, in order of offset.

    Args:
        cursor: In a transaction on home.
        key: The lane.
        partition: Which.
        since: Only those closed at or after this time.
    """
    cursor.execute(
        sql.SQL(
            "SELECT start_offset, end_offset, {}, batches, timings, plan, opened_at, closed_at"
            " FROM penstock.ledger JOIN penstock.lanes ON lanes.id = ledger.lane"
            " WHERE pipeline = %s AND log_id = %s AND segment = %s AND lanes.lane = %s"
            " AND partition = %s AND closed_at >= coalesce(%s, closed_at) ORDER BY start_offset"
        ).format(_COLUMNS),
        [*astuple(key), partition, since],
    )
    return [_entry(row) for row in cursor]


def _entry(row: tuple[Any, ...]) -> Entry:
    start, end, *rest = row
    counts = Counts(*rest[: len(_COUNTS)])
    batches, timings, plan, opened_at, closed_at = rest[len(_COUNTS) :]
    return Entry(
        span=Span(start, end),
        counts=counts,
        batches=batches,
        timings={name: Histogram.from_json(found) for name, found in timings.items()},
        plan=plan,
        opened_at=opened_at,
        closed_at=closed_at,
    )
