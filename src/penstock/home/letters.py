"""Recording dead letters with the open batch, before its lanes commit.

A letter is pending as long as the ledger of its lane has not passed it: that follows from the
ledger's tail, so closing a batch updates no letter, and what a crash left pending is replaced when
the batch runs again. The record itself is kept once, byte for byte, however many lanes miss it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from penstock.home import lanes as lane_numbers
from penstock.home import leases
from penstock.home.database import Cursor
from penstock.records import WHOLE, Cause, LaneKey, Letter

if TYPE_CHECKING:
    from penstock.home.batches import OpenBatch

REPLAY_PREFIX = "replay:"
"""A replay log's identity is this and the identity of the log it replays."""

_CHUNK_BYTES = 8_000_000
_CHUNK_ROWS = 10_000
_MOST_DETAIL = 20_000
_MOST_WORDS = 1_000

_Group = tuple[str, str, str]


def record(
    cursor: Cursor,
    batch: OpenBatch,
    lanes: Collection[str],
    letters: Sequence[Letter],
    records: pl.DataFrame,
) -> None:
    """Keep the letters of an open batch; those recorded before for these lanes are replaced.

    Call it before the lanes commit, with all their letters; lanes that have committed the batch
    must not be among them.

    Args:
        cursor: In a transaction on home.
        batch: The open batch, under the caller's epochs.
        lanes: The lanes that are about to commit it. Of a letter, only these count.
        letters: What the plan and the stores would not take.
        records: The batch's records, as the plan got them. Only those that letters are about
            are kept.

    Raises:
        Fenced: A successor has taken one of the batch's partitions.
        ValueError: A letter is about a record that is not among `records`.
    """
    leases.check(cursor, batch.pipeline, batch.segment, batch.epochs)
    forget(cursor, batch, lanes)
    named = [letter for letter in letters if not set(letter.lanes).isdisjoint(lanes)]
    if not named:
        return
    places = _Replayed(records) if batch.log_id.startswith(REPLAY_PREFIX) else None
    if places is None:
        _keep(cursor, batch, records, named)
    causes = _causes(cursor, batch, [letter.cause for letter in named])
    keys = {lane: LaneKey(batch.pipeline, batch.log_id, batch.segment, lane) for lane in lanes}
    numbers = lane_numbers.numbers(cursor, keys.values())
    rows = {}
    for letter in named:
        at, cause = letter.position, letter.cause
        told = causes[_group(cause)], _text(cause.value, _MOST_WORDS)
        for lane in letter.lanes:
            if lane in keys:
                read = (at.partition, at.offset) if places is None else places.of(letter, lane)
                place = (numbers[keys[lane]], *read, at.index)
                rows[place] = (*place, at.partition, at.offset, *told)
    _insert(cursor, batch, list(rows.values()))


def _insert(cursor: Cursor, batch: OpenBatch, rows: Sequence[tuple[Any, ...]]) -> None:
    origin = batch.log_id.removeprefix(REPLAY_PREFIX)
    for start in range(0, len(rows), _CHUNK_ROWS):
        columns = [list(column) for column in zip(*rows[start : start + _CHUNK_ROWS], strict=True)]
        cursor.execute(_INSERT, [batch.id, *columns, batch.pipeline, origin])
        if cursor.rowcount != len(columns[0]):
            raise ValueError(f"batch {batch.id} has letters about records that it does not hold")


_INSERT = """
    INSERT INTO penstock.letters
        (lane, partition, "offset", index, payload, cause, value, batch, previous)
    SELECT given.lane, given.partition, given."offset", given.index, payloads.id, given.cause,
        given.value, %s,
        CASE WHEN given.partition < 0 THEN (
            SELECT letters.id FROM penstock.letters JOIN penstock.lanes ON lanes.id = letters.lane
            WHERE letters.payload = payloads.id AND letters.replay = given."offset"
                AND lanes.lane = (SELECT lane FROM penstock.lanes WHERE id = given.lane))
        END
    FROM unnest(%b::int[], %b::int[], %b::bigint[], %b::bigint[], %b::int[], %b::bigint[],
            %b::bigint[], %b::text[])
        AS given (lane, partition, "offset", index, from_partition, from_offset, cause, value)
    JOIN penstock.payloads ON payloads.pipeline = %s AND payloads.log_id = %s
        AND payloads.partition = given.from_partition AND payloads."offset" = given.from_offset
    ON CONFLICT (lane, partition, "offset", index) DO UPDATE
    SET cause = excluded.cause, value = excluded.value, batch = excluded.batch
"""


def forget(cursor: Cursor, batch: OpenBatch, lanes: Collection[str]) -> None:
    """Remove the letters of these lanes that are pending within the batch's bounds.

    Args:
        cursor: In a transaction on home.
        batch: Whose bounds.
        lanes: Lanes that have not committed the batch.
    """
    partitions = list(batch.spans)
    cursor.execute(
        _FORGET,
        {
            "pipeline": batch.pipeline,
            "log_id": batch.log_id,
            "segment": batch.segment,
            "lanes": list(lanes),
            "partitions": partitions,
            "starts": [batch.spans[partition].start for partition in partitions],
            "ends": [batch.spans[partition].end for partition in partitions],
        },
    )


# Every batch begins with this, so it must never scan: OFFSET 0 keeps the look-ups by index.
_FORGET = """
    DELETE FROM penstock.letters WHERE ctid = ANY(ARRAY(
        SELECT pending.place
        FROM penstock.lanes CROSS JOIN unnest(
                %(partitions)s::int[], %(starts)s::bigint[], %(ends)s::bigint[])
            AS span (partition, start_offset, end_offset)
        LEFT JOIN penstock.tails ON tails.lane = lanes.id AND tails.partition = span.partition
        CROSS JOIN LATERAL (
            SELECT letters.ctid AS place FROM penstock.letters
            WHERE letters.lane = lanes.id AND letters.partition = span.partition
                AND letters."offset" < span.end_offset
                AND letters."offset" >= greatest(span.start_offset, tails.end_offset)
            OFFSET 0
        ) AS pending
        WHERE lanes.pipeline = %(pipeline)s AND lanes.log_id = %(log_id)s
            AND lanes.segment = %(segment)s AND lanes.lane = ANY(%(lanes)s)))
"""


def _keep(
    cursor: Cursor, batch: OpenBatch, records: pl.DataFrame, letters: Sequence[Letter]
) -> None:
    for chunk in _chunks(about(records, letters)):
        cursor.execute(
            "INSERT INTO penstock.payloads (pipeline, log_id, partition,"
            ' "offset", key, value, headers, born, order_stamp) SELECT %s, %s, given.*'
            " FROM unnest(%b::int[], %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[],"
            " %b::timestamptz[], %b::bigint[]) AS given ON CONFLICT DO NOTHING",
            [
                batch.pipeline,
                batch.log_id,
                *(
                    chunk[name].to_list()
                    for name in ("partition", "offset", "key", "value", "headers", "born", "order")
                ),
            ],
        )


def about(records: pl.DataFrame, letters: Sequence[Letter]) -> pl.DataFrame:
    """Keep the records that letters are about."""
    wanted = pl.DataFrame(
        list({(letter.position.partition, letter.position.offset) for letter in letters}),
        schema={"partition": pl.Int32, "offset": pl.Int64},
        orient="row",
    )
    return records.join(wanted, on=["partition", "offset"], how="semi")


def _chunks(records: pl.DataFrame) -> Iterator[pl.DataFrame]:
    size = pl.col("value").bin.size().fill_null(0) + 800
    part = (size.cum_sum() // _CHUNK_BYTES).alias("chunk")
    yield from records.with_columns(part).partition_by("chunk", include_key=False)


def _causes(cursor: Cursor, batch: OpenBatch, causes: Sequence[Cause]) -> dict[_Group, int]:
    spoken = {_group(cause): cause.detail for cause in causes}
    clean = {group: _cleaned(group) for group in spoken}
    details = {clean[group]: _text(detail, _MOST_DETAIL) for group, detail in spoken.items()}
    groups = sorted(details)
    given = {
        "pipeline": batch.pipeline,
        "segment": batch.segment,
        "stages": [stage for stage, _, _ in groups],
        "rules": [rule for _, rule, _ in groups],
        "fields": [field for _, _, field in groups],
        "details": [details[group] for group in groups],
    }
    cursor.execute(_FIND_CAUSES, given)
    if cursor.rowcount < len(groups):
        cursor.execute(_ADD_CAUSES, given)
        cursor.execute(_FIND_CAUSES, given)
    found = cursor.fetchall()
    # The newest traceback is the one that shows today's code.
    changed = sorted((row[0], details[row[1:4]]) for row in found if details[row[1:4]] != row[4])
    if changed:
        cursor.executemany(
            "UPDATE penstock.causes SET detail = %s WHERE id = %s",
            [(detail, number) for number, detail in changed],
        )
    numbers = {row[1:4]: row[0] for row in found}
    return {group: numbers[clean[group]] for group in spoken}


_FIND_CAUSES = """
    SELECT id, causes.stage, causes.rule, causes.field, causes.detail
    FROM unnest(%(stages)s::text[], %(rules)s::text[], %(fields)s::text[])
        AS given (stage, rule, field)
    JOIN penstock.causes ON causes.pipeline = %(pipeline)s AND causes.segment = %(segment)s
        AND causes.stage = given.stage AND causes.rule = given.rule AND causes.field = given.field
"""

_ADD_CAUSES = """
    INSERT INTO penstock.causes (pipeline, segment, stage, rule, field, detail)
    SELECT %(pipeline)s, %(segment)s, given.*
    FROM unnest(%(stages)s::text[], %(rules)s::text[], %(fields)s::text[], %(details)s::text[])
        AS given
    ON CONFLICT DO NOTHING
"""


def _group(cause: Cause) -> _Group:
    return cause.stage, cause.rule, cause.field


def _cleaned(group: _Group) -> _Group:
    stage, rule, field = group
    return _text(stage, _MOST_WORDS), _text(rule, _MOST_WORDS), _text(field, _MOST_WORDS)


def _text(words: str, most: int) -> str:
    """Make any str one that PostgreSQL can hold: no NUL, no lone surrogate."""
    plain = words[:most].replace("\0", "\\x00")
    return plain.encode("utf-8", "backslashreplace").decode("utf-8")


class _Replayed:
    """Finds which entry of the replay log a letter comes from.

    An entry is for one row of a record or, with index `WHOLE`, for all of it. A replayed row's
    record may fail as a whole this time: then each of its entries gets one such letter.
    """

    def __init__(self, records: pl.DataFrame) -> None:
        self._entries: Mapping[tuple[Any, ...], list[tuple[int, int]]] = defaultdict(list)
        columns = records.select("partition", "offset", "index", "lanes", "at")
        for partition, offset, index, lanes, at in columns.iter_rows():
            for lane in lanes:
                self._entries[partition, offset, lane].append((index, at))
        self._given: defaultdict[tuple[Any, ...], int] = defaultdict(int)

    def of(self, letter: Letter, lane: str) -> tuple[int, int]:
        """Return partition and offset in the replay log."""
        at = letter.position
        entries = self._entries[at.partition, at.offset, lane]
        for index, place in entries:
            if index in (at.index, WHOLE):
                return -1, place
        turn = self._given[at.partition, at.offset, lane, at.index]
        self._given[at.partition, at.offset, lane, at.index] += 1
        return -1, entries[turn % len(entries)][1]
