"""Who works on which partition of a segment: leases with epochs.

A lease is free when nobody ever held it, its holder released it, it expired by the server's clock,
or the holder's session with home is gone (so a killed process frees its leases at once; a stopped
one when they expire, or by `take_over`). Each change of owner raises the epoch, which the new
owner then raises in every sink: who was only asleep is fenced there. No process's clock matters.

A source holds a lease too, under the segment name `source:<landing>`, partition 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from penstock.errors import Fenced
from penstock.home.database import Cursor


@dataclass(frozen=True)
class Claimant:
    """A process that wants to work on a segment.

    Args:
        owner: Unique for each run of a process, also on one machine with one process id.
        host: For people.
        pid: For people.
    """

    pipeline: str
    segment: str
    owner: str
    host: str
    pid: int


@dataclass(frozen=True)
class Holder:
    """Who holds a partition, since when."""

    pipeline: str
    segment: str
    partition: int
    epoch: int
    owner: str
    host: str
    pid: int
    since: datetime
    expires: datetime

    def __str__(self) -> str:
        """Name the process for a person."""
        return f"process {self.pid} on {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


_TAKE = """
    UPDATE penstock.leases
    SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
        owner = %(owner)s, host = %(host)s, process = %(pid)s, session_pid = pg_backend_pid(),
        session_start = session.backend_start, since = clock_timestamp(),
        expires = clock_timestamp() + make_interval(secs => %(ttl)s)
    FROM pg_stat_get_activity(pg_backend_pid()) AS session
    WHERE pipeline = %(pipeline)s AND segment = %(segment)s AND partition = ANY(%(partitions)s)
"""

_STALLED = """
    SELECT pg_terminate_backend(session.pid, 5000)
    FROM pg_locks AS held JOIN pg_stat_activity AS session ON session.pid = held.pid
    WHERE held.granted AND held.relation = 'penstock.leases'::regclass
    AND held.mode IN ('RowShareLock', 'RowExclusiveLock') AND session.pid <> pg_backend_pid()
    AND session.datname = current_database() AND session.usename = current_user
    AND session.application_name LIKE 'penstock:%' AND session.wait_event = 'ClientRead'
    AND greatest(session.query_start, session.state_change)
        < clock_timestamp() - make_interval(secs => 1)
"""
"""Ends what a stopped process left half-way: a live one's transactions last milliseconds, and one
that was only starved connects again."""


def acquire(
    cursor: Cursor, claimant: Claimant, partitions: Collection[int], ttl: float
) -> dict[int, int]:
    """Take those of the partitions that are free, never waiting for the others.

    Args:
        cursor: In a transaction on home; the leases are held once it commits.
        claimant: Who wants them.
        partitions: Which; those that the claimant holds already are not free.
        ttl: Seconds until they expire unless renewed.

    Returns:
        For each partition taken its new epoch.
    """
    given = _given(claimant, partitions, ttl)
    _create(cursor, given)
    cursor.execute(
        "SELECT partition, pg_stat_clear_snapshot() FROM penstock.leases"
        " WHERE pipeline = %(pipeline)s AND segment = %(segment)s"
        " AND partition = ANY(%(partitions)s) ORDER BY partition FOR UPDATE SKIP LOCKED",
        given,
    )
    given["partitions"] = [partition for partition, _ in cursor]
    if cursor.rowcount < len(partitions):
        cursor.execute(_STALLED)
    cursor.execute(
        _TAKE + "AND NOT EXISTS (SELECT FROM penstock.held_leases AS held"
        " WHERE held.pipeline = leases.pipeline AND held.segment = leases.segment"
        " AND held.partition = leases.partition) RETURNING partition, epoch",
        given,
    )
    return dict(cursor.fetchall())


def take_over(
    cursor: Cursor, claimant: Claimant, partitions: Collection[int], ttl: float
) -> dict[int, int]:
    """Take the partitions whoever holds them; the holder is fenced, its session is ended.

    Args:
        cursor: In a transaction on home.
        claimant: Who wants them.
        partitions: Which.
        ttl: Seconds until they expire unless renewed.

    Returns:
        For each partition its new epoch.

    Raises:
        Unavailable: Somebody keeps the rows locked.
    """
    given = _given(claimant, partitions, ttl)
    cursor.execute("SET LOCAL lock_timeout = '3s'")  # the next attempt finds who stalls
    _create(cursor, given)
    # A stopped holder may have been stopped inside a transaction, with its rows locked.
    cursor.execute(_STALLED)
    cursor.execute(
        "SELECT pg_terminate_backend(session.pid, 5000) FROM penstock.leases"
        " JOIN pg_stat_activity AS session ON session.pid = session_pid"
        " AND session.backend_start = session_start AND session.usename = current_user"
        " WHERE pipeline = %(pipeline)s AND segment = %(segment)s"
        " AND partition = ANY(%(partitions)s) AND owner <> %(owner)s"
        " AND session.pid <> pg_backend_pid()",
        given,
    )
    cursor.execute(_TAKE + "RETURNING partition, epoch", given)
    return dict(cursor.fetchall())


def renew(cursor: Cursor, claimant: Claimant, epochs: Mapping[int, int], ttl: float) -> set[int]:
    """Say that the claimant is alive; also how it holds on to its leases after a reconnect.

    Args:
        cursor: In a transaction on home; its session stands for the claimant from now on.
        claimant: The holder.
        epochs: The partitions it holds, each with the epoch it was given.
        ttl: Seconds until they expire unless renewed again.

    Returns:
        The partitions that are lost: somebody else took them.
    """
    cursor.execute(
        "UPDATE penstock.leases"
        " SET expires = clock_timestamp() + make_interval(secs => %(ttl)s),"
        " session_pid = pg_backend_pid(), session_start = session.backend_start"
        " FROM pg_stat_get_activity(pg_backend_pid()) AS session,"
        " unnest(%(partitions)s::int[], %(epochs)s::bigint[]) AS mine (partition, epoch)"
        " WHERE pipeline = %(pipeline)s AND segment = %(segment)s AND owner = %(owner)s"
        " AND leases.partition = mine.partition AND leases.epoch = mine.epoch"
        " RETURNING leases.partition",
        {**_given(claimant, epochs, ttl), "epochs": list(epochs.values())},
    )
    return set(epochs) - {partition for (partition,) in cursor}


def release(cursor: Cursor, claimant: Claimant, partitions: Collection[int]) -> None:
    """Give partitions back; what the claimant does not hold is left alone.

    Args:
        cursor: In a transaction on home.
        claimant: The holder.
        partitions: Which.
    """
    cursor.execute(
        "UPDATE penstock.leases SET owner = NULL"
        " WHERE pipeline = %(pipeline)s AND segment = %(segment)s"
        " AND partition = ANY(%(partitions)s) AND owner = %(owner)s",
        _given(claimant, partitions, 0),
    )


def check(cursor: Cursor, pipeline: str, segment: str, epochs: Mapping[int, int]) -> None:
    """Make sure, until the transaction's end, that nobody took the partitions over.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose.
        segment: Which.
        epochs: The partitions, each with the epoch that must still be its newest.

    Raises:
        Fenced: A successor has taken one of them.
    """
    cursor.execute(
        "SELECT partition, epoch, host, process FROM penstock.leases"
        " WHERE pipeline = %s AND segment = %s AND partition = ANY(%s)"
        " ORDER BY partition FOR SHARE",
        [pipeline, segment, list(epochs)],
    )
    for partition, epoch, host, process in cursor:
        if epoch != epochs[partition]:
            raise Fenced(
                f"process {process} on {host} has taken over partition {partition} of {segment!r}"
                f" of pipeline {pipeline!r}. This process stops writing to it."
            )


def holders(cursor: Cursor, pipeline: str, segment: str | None = None) -> list[Holder]:
    """Say who holds what, for `status` and for a run that must stand by.

    Args:
        cursor: In a transaction on home.
        pipeline: Whose leases.
        segment: Only of this segment.
    """
    cursor.execute(
        "SELECT pipeline, segment, partition, epoch, owner, host, process, since, expires"
        " FROM penstock.held_leases WHERE pipeline = %s AND segment = coalesce(%s, segment)"
        " ORDER BY segment, partition",
        [pipeline, segment],
    )
    return [Holder(*row) for row in cursor]


def _given(claimant: Claimant, partitions: Collection[int], ttl: float) -> dict[str, object]:
    return {**vars(claimant), "partitions": list(partitions), "ttl": ttl}


def _create(cursor: Cursor, given: Mapping[str, object]) -> None:
    cursor.execute(
        "INSERT INTO penstock.leases (pipeline, segment, partition)"
        " SELECT %(pipeline)s, %(segment)s, partition"
        " FROM unnest(%(partitions)s::int[]) AS wanted (partition)"
        # Without this the conflict would wait for a holder that locks its row.
        " WHERE NOT EXISTS (SELECT FROM penstock.leases AS known"
        " WHERE known.pipeline = %(pipeline)s AND known.segment = %(segment)s"
        " AND known.partition = wanted.partition) ORDER BY partition ON CONFLICT DO NOTHING",
        given,
    )
