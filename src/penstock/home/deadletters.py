"""What people ask of dead letters: how many and why, one of them whole, and to give them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.errors import Refused
from penstock.home.database import Cursor
from penstock.records import Cause, LaneKey, Position


@dataclass(frozen=True)
class Selection:
    """Which letters a command is about; what is None does not narrow it.

    Args:
        pipeline: Whose.
        segment: Of the segment that reads this log.
        lane: Dead for this lane.
        cause: Number of a group in `causes`.
        letters: These alone, by number.
    """

    pipeline: str
    segment: str | None = None
    lane: str | None = None
    cause: int | None = None
    letters: list[int] | None = None


@dataclass(frozen=True)
class CauseGroup:
    """Letters that broke the same rule in the same field of the same segment.

    Args:
        id: Number of the group.
        segment: Where.
        cause: Stage, rule and field; one of the values; one traceback.
        lanes: The lanes that miss records.
        states: How many letters are `pending`, `dead`, `replaying`, `replayed`, `failed again`
            or `discarded`.
        first: When the first of them was recorded.
        last: When the last one was.
    """

    id: int
    segment: str
    cause: Cause
    lanes: tuple[str, ...]
    states: Mapping[str, int]
    first: datetime
    last: datetime


@dataclass(frozen=True)
class LetterLine:
    """A letter in a list; `position` is that of the record in its own log, for ever."""

    id: int
    segment: str
    lane: str
    position: Position
    state: str
    group: int
    cause: Cause
    recorded_at: datetime


@dataclass(frozen=True)
class Happening:
    """Something that happened to a letter: `recorded`, `replayed`, `discarded`."""

    what: str
    at: datetime
    letter: int
    who: str = ""
    why: str = ""


@dataclass(frozen=True)
class Shown:
    """A letter whole: the record byte for byte, and what happened with it so far."""

    line: LetterLine
    log_id: str
    key: bytes | None
    value: bytes | None
    headers: bytes | None
    born: datetime
    order: int
    history: tuple[Happening, ...]


@dataclass(frozen=True)
class Imbalance:
    """A lane whose ledger counts more or fewer dead than there are letters."""

    key: LaneKey
    partition: int
    ledger: int
    letters: int


def lock(cursor: Cursor, pipeline: str) -> None:
    """Let commands that change letters of a pipeline follow one another, until the commit."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock(hashtext('penstock letters'), hashtext(%s))", [pipeline]
    )


def causes(cursor: Cursor, selection: Selection) -> list[CauseGroup]:
    """Group letters by cause, the group with the most dead first.

    Args:
        cursor: In a transaction on home.
        selection: Which letters.
    """
    cursor.execute(_CAUSES, vars(selection))
    groups = [
        CauseGroup(number, segment, Cause(*cause), tuple(lanes), states, first, last)
        for number, segment, *cause, lanes, states, first, last in cursor
    ]
    return sorted(groups, key=lambda group: (-group.states.get("dead", 0), group.id))


_CAUSES = """
    WITH counted AS (
        SELECT cause, segment, lane, state, count(*) AS letters, max(id) AS newest,
            min(recorded_at) AS first, max(recorded_at) AS last
        FROM penstock.select_letters(%(pipeline)s, %(segment)s, %(lane)s, %(cause)s, %(letters)s)
        GROUP BY cause, segment, lane, state
    ), states AS (
        SELECT cause, jsonb_object_agg(state, letters) AS states
        FROM (SELECT cause, state, sum(letters) AS letters FROM counted
            GROUP BY cause, state) AS each
        GROUP BY cause
    ), groups AS (
        SELECT cause, segment, array_agg(DISTINCT lane) AS lanes, max(newest) AS newest,
            min(first) AS first, max(last) AS last
        FROM counted GROUP BY cause, segment
    )
    SELECT groups.cause, groups.segment, stage, rule, field, letters.value, detail,
        lanes, states, first, last
    FROM groups JOIN states ON states.cause = groups.cause
    JOIN penstock.causes ON causes.id = groups.cause
    JOIN penstock.letters ON letters.id = newest
"""


def find(
    cursor: Cursor, selection: Selection, *, states: Sequence[str], most: int, after: int = 0
) -> list[LetterLine]:
    """List letters in the order in which they were recorded.

    Args:
        cursor: In a transaction on home.
        selection: Which letters.
        states: Only letters in one of these states.
        most: How many at most.
        after: Only letters with a greater number: the last one of the page before.
    """
    cursor.execute(
        _LINES + "WHERE state = ANY(%(states)s) AND id > %(after)s ORDER BY id LIMIT %(most)s",
        {**vars(selection), "states": list(states), "most": most, "after": after},
    )
    return [_line(row) for row in cursor]


_LINES = """
    SELECT id, segment, lane, partition, "offset", index, state, cause, recorded_at,
        stage, rule, field, value, (SELECT detail FROM penstock.causes WHERE causes.id = cause)
    FROM penstock.select_letters(%(pipeline)s, %(segment)s, %(lane)s, %(cause)s, %(letters)s)
"""


def _line(row: tuple[Any, ...]) -> LetterLine:
    number, segment, lane, partition, offset, index, state, group, recorded_at, *cause = row
    return LetterLine(
        id=number,
        segment=segment,
        lane=lane,
        position=Position(partition, offset, index),
        state=state,
        group=group,
        cause=Cause(*cause),
        recorded_at=recorded_at,
    )


def show(cursor: Cursor, pipeline: str, number: int) -> Shown:
    """Give a letter whole.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
        number: The letter's.

    Raises:
        Refused: The pipeline has no such letter.
    """
    cursor.execute(_LINES, vars(Selection(pipeline, letters=[number])))
    row = cursor.fetchone()
    if row is None:
        raise Refused(f"pipeline {pipeline!r} has no dead letter {number}. List them first.")
    cursor.execute(
        "SELECT log_id, key, payloads.value, headers, born, order_stamp"
        " FROM penstock.letters JOIN penstock.payloads ON payloads.id = payload"
        " WHERE letters.id = %s",
        [number],
    )
    log_id, *record, born, order = next(iter(cursor))
    key, value, headers = record
    cursor.execute(_HISTORY, [number])
    history = tuple(Happening(*happening) for happening in cursor)
    return Shown(_line(row), log_id, key, value, headers, born, order, history)


_HISTORY = """
    WITH RECURSIVE earlier AS (
        SELECT * FROM penstock.letters WHERE id = %s
        UNION SELECT letters.* FROM penstock.letters JOIN earlier ON letters.id = earlier.previous
    ), chain AS (
        SELECT * FROM earlier
        UNION SELECT letters.* FROM penstock.letters JOIN chain ON letters.previous = chain.id
    )
    SELECT 'recorded' AS what, recorded_at AS at, chain.id, '' AS who,
        concat_ws(' ', stage, rule, field, chain.value) AS why
    FROM chain JOIN penstock.causes ON causes.id = chain.cause
    UNION ALL
    SELECT 'replayed', asked_at, chain.id, asked_by, ''
    FROM chain JOIN penstock.lanes ON lanes.id = chain.lane
    JOIN penstock.replays ON replays.payload = chain.payload AND replays.pipeline = lanes.pipeline
        AND replays.segment = lanes.segment AND replays."offset" = chain.replay
    UNION ALL
    SELECT 'discarded', discarded_at, id, discarded_by, reason
    FROM chain WHERE discarded_at IS NOT NULL
    ORDER BY at, id
"""


def discard(cursor: Cursor, selection: Selection, *, reason: str, by: str) -> int:
    """Give dead letters up; they stay on record, with who gave them up and why.

    Args:
        cursor: In a transaction on home.
        selection: Which; only those that are dead now.
        reason: Why, for the record.
        by: Who, for the record.

    Returns:
        How many were discarded.
    """
    lock(cursor, selection.pipeline)
    cursor.execute(
        "UPDATE penstock.letters"
        " SET discarded_at = clock_timestamp(), discarded_by = %(by)s, reason = %(reason)s"
        " WHERE id IN (SELECT id FROM penstock.select_letters("
        "  %(pipeline)s, %(segment)s, %(lane)s, %(cause)s, %(letters)s) WHERE state = 'dead')",
        {**vars(selection), "reason": reason, "by": by},
    )
    return cursor.rowcount


def imbalances(cursor: Cursor, pipeline: str) -> list[Imbalance]:
    """Compare, for each lane and partition, the ledger's dead with the letters ever recorded.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.

    Returns:
        The lanes where they differ; empty when all is well.
    """
    cursor.execute(
        "SELECT pipeline, log_id, segment, lanes.lane, partition, dead, counted"
        " FROM penstock.tails JOIN penstock.lanes ON lanes.id = tails.lane"
        " CROSS JOIN LATERAL (SELECT count(*) AS counted FROM penstock.letters"
        "  WHERE letters.lane = tails.lane AND letters.partition = tails.partition"
        '  AND letters."offset" < tails.end_offset) AS letters'
        " WHERE pipeline = %s AND dead <> counted"
        " ORDER BY segment, lanes.lane, partition",
        [pipeline],
    )
    return [Imbalance(LaneKey(*row[:4]), *row[4:]) for row in cursor]
