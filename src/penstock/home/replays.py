"""Sending dead letters back: the replay log of a segment.

A replay appends entries (the record, the row of it, the lanes it is dead for) to a log in home that
the segment reads as one more partition, `REPLAY`, with progress of its own in every sink. Choosing
the letters and appending them is one transaction under a lock, so twice is once. What becomes of
them follows from the ledger: once it has passed an entry, its letter is replayed, or has a
successor that says why it failed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.home import deadletters
from penstock.home.database import Cursor, Home
from penstock.home.deadletters import Selection
from penstock.home.letters import REPLAY_PREFIX
from penstock.plan.model import BATCH_SCHEMA, REPLAY, MicroBatch
from penstock.records import Limits, Span

REPLAY_SCHEMA = pl.Schema(
    [
        *BATCH_SCHEMA.items(),
        ("index", pl.Int64()),
        ("lanes", pl.List(pl.String())),
        ("at", pl.Int64()),
    ]
)
"""Columns of a replay batch's records; `at` is the offset in the replay log."""


@dataclass(frozen=True)
class Replayed:
    """What `replay` did.

    Args:
        letters: How many letters were sent back.
        entries: As how many entries: a record dead for several lanes is one.
        left: Letters selected that cannot be sent: their lane is no longer in the program, or
            their log is not the one that the segment reads now.
    """

    letters: int
    entries: int
    left: int


def log_id(of: str) -> str:
    """Name the replay log of a log.

    Args:
        of: Identity of the segment's log.
    """
    return REPLAY_PREFIX + of


def replay(cursor: Cursor, selection: Selection, *, by: str) -> Replayed:
    """Send dead letters back to the lanes that they are dead for, exactly once.

    Args:
        cursor: In a transaction on home.
        selection: Which; only those that are dead now, not those replaying or discarded.
        by: Who asks, for the record.
    """
    deadletters.lock(cursor, selection.pipeline)
    cursor.execute(_CHOOSE, vars(selection))
    chosen = cursor.fetchall()
    sendable = [row for row in chosen if row[3]]
    entries = 0
    for segment, log in sorted({(row[1], row[2]) for row in sendable}):
        numbers = [row[0] for row in sendable if row[1:3] == (segment, log)]
        cursor.execute(
            _SEND,
            {
                "pipeline": selection.pipeline,
                "segment": segment,
                "log": log,
                "replay_log": log_id(log),
                "numbers": numbers,
                "by": by,
            },
        )
        entries += next(iter(cursor))[0]
    return Replayed(len(sendable), entries, len(chosen) - len(sendable))


_CHOOSE = """
    SELECT letters.id, letters.segment, payloads.log_id,
        (programs.lane IS NULL OR programs.current)
        AND (known_logs.log_id IS NULL OR known_logs.log_id = payloads.log_id) AS sendable
    FROM penstock.select_letters(
        %(pipeline)s, %(segment)s, %(lane)s, %(cause)s, %(letters)s) AS letters
    JOIN penstock.payloads ON payloads.id = letters.payload
    LEFT JOIN penstock.programs ON programs.pipeline = letters.pipeline
        AND programs.segment = letters.segment AND programs.lane = letters.lane
    LEFT JOIN penstock.known_logs ON known_logs.pipeline = letters.pipeline
        AND known_logs.name = letters.segment
    WHERE letters.state = 'dead'
"""

_SEND = """
    WITH head AS (
        SELECT greatest(
            (SELECT max("offset") + 1 FROM penstock.replays
             WHERE pipeline = %(pipeline)s AND segment = %(segment)s AND log_id = %(log)s),
            -- Past what sinks have done: home may have been restored from an older backup.
            (SELECT max(end_offset) FROM penstock.tails JOIN penstock.lanes ON lanes.id = tails.lane
             WHERE pipeline = %(pipeline)s AND segment = %(segment)s AND log_id = %(replay_log)s),
            0) AS next
    ), entries AS (
        SELECT payload, index, array_agg(DISTINCT lanes.lane) AS lanes,
            next - 1 + row_number() OVER (ORDER BY min(order_stamp), payload, index) AS "offset"
        FROM penstock.letters JOIN penstock.lanes ON lanes.id = letters.lane
        JOIN penstock.payloads ON payloads.id = letters.payload, head
        WHERE letters.id = ANY(%(numbers)s) GROUP BY payload, index, next
    ), sent AS (
        INSERT INTO penstock.replays
            (pipeline, segment, log_id, "offset", payload, index, lanes, asked_by)
        SELECT %(pipeline)s, %(segment)s, %(log)s, "offset", payload, index, lanes, %(by)s
        FROM entries
    ), marked AS (
        UPDATE penstock.letters SET replay = entries."offset" FROM entries
        WHERE letters.id = ANY(%(numbers)s)
            AND letters.payload = entries.payload AND letters.index = entries.index
    )
    SELECT count(*) FROM entries
"""


def preview(cursor: Cursor, selection: Selection, *, most: int) -> dict[str, MicroBatch]:
    """Give dead letters as replay batches, by segment, without sending them.

    Args:
        cursor: In a transaction on home.
        selection: Which.
        most: How many letters at most.

    Returns:
        For each segment a batch that its plan takes; `at` and its span only number the entries.
    """
    cursor.execute(_PREVIEW, {**vars(selection), "most": most})
    found: dict[str, list[tuple[Any, ...]]] = {}
    for segment, *row in cursor:
        found.setdefault(segment, []).append(tuple(row))
    return {segment: _batch(rows, Span(0, len(rows))) for segment, rows in found.items()}


_PREVIEW = """
    SELECT segment, payloads.partition, payloads."offset", key,
        CASE WHEN row_number() OVER (PARTITION BY payloads.id ORDER BY letters.index) = 1
            THEN payloads.value END,
        headers, born, order_stamp, letters.index, array_agg(DISTINCT lane),
        row_number() OVER (PARTITION BY segment ORDER BY order_stamp, letters.index) - 1,
        payloads.id
    FROM (
        SELECT * FROM penstock.select_letters(
            %(pipeline)s, %(segment)s, %(lane)s, %(cause)s, %(letters)s)
        WHERE state = 'dead'
        ORDER BY id LIMIT %(most)s
    ) AS letters
    JOIN penstock.payloads ON payloads.id = letters.payload
    GROUP BY segment, payloads.id, letters.index
    ORDER BY segment, order_stamp, letters.index
"""


class ReplayLog:
    """The replay log of one segment, read like a partition of its log.

    Args:
        home: Where it is kept; each call is a short transaction.
        pipeline: Whose.
        segment: Which.
        log_id: Identity of the segment's log.
    """

    def __init__(self, home: Home, pipeline: str, segment: str, log_id: str) -> None:
        self._home = home
        self._which = [pipeline, segment, log_id]

    def end(self) -> int:
        """Return the next offset to be given.

        Raises:
            Unavailable: Home is away.
        """
        with self._home.transaction() as cursor:
            cursor.execute(
                'SELECT coalesce(max("offset") + 1, 0) FROM penstock.replays'
                " WHERE pipeline = %s AND segment = %s AND log_id = %s",
                self._which,
            )
            return int(next(iter(cursor))[0])

    def read(self, start: int, limits: Limits) -> MicroBatch:
        """Read entries from `start`; an empty batch at the end.

        Args:
            start: The first offset of the replay log.
            limits: At least one entry is returned if there is one.

        Raises:
            Unavailable: Home is away.
        """
        rows = self._rows(Span(start, _NO_END), limits)
        return _batch(rows, Span(start, rows[-1][-2] + 1 if rows else start))

    def reread(self, span: Span) -> MicroBatch:
        """Read exactly this span.

        Args:
            span: Of the replay log, from an open batch.

        Raises:
            Unavailable: Home is away.
        """
        return _batch(self._rows(span, Limits(_NO_END, _NO_END)), span)

    def _rows(self, span: Span, limits: Limits) -> list[tuple[Any, ...]]:
        pipeline, segment, log_id = self._which
        given = {
            "pipeline": pipeline,
            "segment": segment,
            "log": log_id,
            "start": span.start,
            "end": span.end,
            "most": limits.records,
            "bytes": limits.bytes,
        }
        with self._home.transaction() as cursor:
            cursor.execute(_READ, given, binary=True)
            return cursor.fetchall()


_ENTRIES = """
    SELECT payloads.partition, payloads."offset", key, payloads.value, headers, born, order_stamp,
        index, lanes, replays."offset" AS at, payload,
        row_number() OVER (PARTITION BY payload ORDER BY replays."offset") = 1 AS first
    FROM (
        SELECT * FROM penstock.replays
        WHERE pipeline = %(pipeline)s AND segment = %(segment)s AND log_id = %(log)s
            AND "offset" >= %(start)s AND "offset" < %(end)s
        ORDER BY "offset" LIMIT %(most)s
    ) AS replays JOIN penstock.payloads ON payloads.id = replays.payload
"""

# Many letters may be of one large response: it leaves the server once, and counts once.
_READ = f"""
    SELECT partition, "offset", key, CASE WHEN first THEN value END, headers, born, order_stamp,
        index, lanes, at, payload
    FROM (
        SELECT *, row_number() OVER (ORDER BY at) AS number,
            sum(CASE WHEN first THEN octet_length(value) END) OVER (ORDER BY at) AS upto
        FROM ({_ENTRIES}) AS entries
    ) AS sized
    WHERE number = 1 OR coalesce(upto, 0) <= %(bytes)s ORDER BY at
"""  # noqa: S608 - constants

_NO_END = (1 << 63) - 1


def _batch(rows: Sequence[tuple[Any, ...]], span: Span) -> MicroBatch:
    """Make a batch of rows that end with their payload's number and hold its value once."""
    frame = pl.DataFrame(rows, schema={**REPLAY_SCHEMA, "payload": pl.Int64}, orient="row")
    values = frame.unique("payload", keep="first", maintain_order=True).select("payload", "value")
    frame = frame.drop("value").join(values, on="payload", how="left", maintain_order="left")
    return MicroBatch({REPLAY: span}, frame.select(REPLAY_SCHEMA.names()))
