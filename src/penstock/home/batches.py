"""Open batches: micro-batches that sinks may have begun to commit.

A batch is recorded before any sink commits it and removed with the ledger's close. After a crash
it runs again with exactly its bounds, whatever the code is by then: a lane that has committed it is
trimmed, the others get it. There is a row for each partition, so that partitions of one batch may
be finished by different successors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from penstock.home import leases, letters
from penstock.home.database import Cursor
from penstock.records import Span


@dataclass(frozen=True)
class OpenBatch:
    """A micro-batch between its opening and the ledger's close.

    Args:
        pipeline: Whose.
        segment: The segment that runs it.
        log_id: Identity of the log read (`replay:…` for a replay log).
        lanes: The lanes that it is for.
        spans: Its bounds in each partition.
        epochs: The epoch under which each partition is held.
        plan: Fingerprint of the plan and code that opened it.
        id: Given by `open_batch`.
        attempts: How many times it has been begun.
        opened_at: When it was first opened, by the server's clock.
    """

    pipeline: str
    segment: str
    log_id: str
    lanes: tuple[str, ...]
    spans: Mapping[int, Span]
    epochs: Mapping[int, int]
    plan: str
    id: int = 0
    attempts: int = 1
    opened_at: datetime | None = None


def open_batch(cursor: Cursor, batch: OpenBatch) -> OpenBatch:
    """Record a micro-batch; call it before anything of it can be committed.

    Args:
        cursor: In a transaction on home.
        batch: Without an id.

    Returns:
        The batch with its id and time.

    Raises:
        Fenced: A successor has taken one of its partitions.
    """
    leases.check(cursor, batch.pipeline, batch.segment, batch.epochs)
    letters.forget(cursor, batch, batch.lanes)
    partitions = list(batch.spans)
    cursor.execute(
        "WITH given AS MATERIALIZED (SELECT nextval('penstock.batch_ids') AS id)"
        " INSERT INTO penstock.batches (id, partition, start_offset, end_offset, epoch,"
        " pipeline, segment, log_id, lanes, plan)"
        " SELECT given.id, spans.*, %s, %s, %s, %s, %s FROM given,"
        " unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) AS spans"
        " RETURNING id, opened_at",
        [
            batch.pipeline,
            batch.segment,
            batch.log_id,
            list(batch.lanes),
            batch.plan,
            partitions,
            [batch.spans[partition].start for partition in partitions],
            [batch.spans[partition].end for partition in partitions],
            [batch.epochs[partition] for partition in partitions],
        ],
    )
    found = cursor.fetchall()
    return replace(batch, id=found[0][0], opened_at=min(opened for _, opened in found))


def open_batches(
    cursor: Cursor, pipeline: str, segment: str, partitions: Collection[int] | None = None
) -> list[OpenBatch]:
    """List the batches that are open, oldest first: what a new owner must finish before it reads.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
        segment: Of which segment.
        partitions: Only these partitions of them (those that the caller holds).
    """
    cursor.execute(
        "SELECT id, log_id, lanes, plan, partition, start_offset, end_offset, epoch,"
        " attempts, opened_at FROM penstock.batches"
        " WHERE pipeline = %s AND segment = %s AND (%s::int[] IS NULL OR partition = ANY(%s))"
        " ORDER BY id, partition",
        [pipeline, segment, *[None if partitions is None else list(partitions)] * 2],
    )
    found = []
    for _, group in groupby(cursor.fetchall(), key=lambda row: row[0]):
        rows = list(group)
        number, log_id, lanes, plan = rows[0][:4]
        found.append(
            OpenBatch(
                pipeline=pipeline,
                segment=segment,
                log_id=log_id,
                lanes=tuple(lanes),
                spans={row[4]: Span(row[5], row[6]) for row in rows},
                epochs={row[4]: row[7] for row in rows},
                plan=plan,
                id=number,
                attempts=max(row[8] for row in rows),
                opened_at=min(row[9] for row in rows),
            )
        )
    return found


def adopt(cursor: Cursor, batch: OpenBatch, epochs: Mapping[int, int]) -> OpenBatch:
    """Make an open batch one's own before running it again; counts the attempt.

    Args:
        cursor: In a transaction on home.
        batch: From `open_batches`, with partitions that the caller holds.
        epochs: The caller's epochs of these partitions (others are ignored).

    Returns:
        The batch under the new epochs.

    Raises:
        Fenced: A successor has taken one of its partitions.
    """
    mine = {partition: epochs[partition] for partition in batch.spans}
    leases.check(cursor, batch.pipeline, batch.segment, mine)
    cursor.execute(
        "UPDATE penstock.batches SET epoch = mine.epoch, attempts = attempts + 1"
        " FROM unnest(%s::int[], %s::bigint[]) AS mine (partition, epoch)"
        " WHERE id = %s AND batches.partition = mine.partition",
        [list(mine), list(mine.values()), batch.id],
    )
    return replace(batch, epochs=mine, attempts=batch.attempts + 1)


def finish(cursor: Cursor, batch: OpenBatch, lanes: Collection[str]) -> None:
    """Close a batch for lanes that have committed it; in the transaction of the ledger's close.

    It stays open for the others. Doing it again does nothing.

    Args:
        cursor: In a transaction on home.
        batch: Its partitions are meant; those that somebody else finishes stay open.
        lanes: Which lanes have committed it.
    """
    given = {"id": batch.id, "partitions": list(batch.spans), "lanes": list(lanes)}
    cursor.execute(
        "DELETE FROM penstock.batches WHERE id = %(id)s AND partition = ANY(%(partitions)s)"
        " AND lanes <@ %(lanes)s::text[]",
        given,
    )
    if set(batch.lanes) <= set(lanes):
        return
    cursor.execute(
        "UPDATE penstock.batches SET lanes = ARRAY("
        "  SELECT lane FROM unnest(lanes) AS lane WHERE lane <> ALL(%(lanes)s::text[]))"
        " WHERE id = %(id)s AND partition = ANY(%(partitions)s)",
        given,
    )
