"""Where each lane stands, kept in the store it writes to: `penstock.progress`.

A writer holds its rows for as long as its transaction lives, under advisory locks that name it.
A successor raises the epoch; if a stalled predecessor is in the way, its session is ended, so
that no successor waits for a process that was stopped. The conditional move is what fences: it
changes a row only from the very `next` and `epoch` that the writer was given.

Statements come as text (`hold_statement`, `move_statement`) for writers that do not speak
through psycopg, and as SQL functions (`penstock.hold_progress`, `penstock.move_progress`) for
statements that must run on the server in one message.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from penstock import faults
from penstock.errors import Fenced, Unavailable
from penstock.records import Counts, LaneKey, Position, Progress, Step

FENCED = "PSF01"
"""The SQLSTATE of a write that a successor has fenced off."""

ATTEMPTS = 5

_VERSION = "penstock progress 3"
_COUNTS = tuple(f.name for f in fields(Counts))

_TABLES = """
CREATE SCHEMA IF NOT EXISTS penstock;
CREATE TABLE IF NOT EXISTS penstock.progress (
    pipeline text NOT NULL,
    log_id text NOT NULL,
    segment text NOT NULL,
    lane text NOT NULL,
    partition int NOT NULL,
    next bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL,
    records bigint NOT NULL DEFAULT 0,
    absent bigint NOT NULL DEFAULT 0,
    expanded bigint NOT NULL DEFAULT 0,
    written bigint NOT NULL DEFAULT 0,
    superseded bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    filtered bigint NOT NULL DEFAULT 0,
    deduplicated bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    last_partition int,
    last_offset bigint,
    last_index bigint,
    plan text NOT NULL DEFAULT '',
    tail text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, log_id, segment, lane, partition)
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS penstock.tables (
    schema text NOT NULL,
    name text NOT NULL,
    pipeline text NOT NULL,
    lane text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema, name)
);
COMMENT ON TABLE penstock.tables IS 'Which lane writes a table';

CREATE OR REPLACE FUNCTION penstock.progress_lock(lane_key text[], part int) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(to_jsonb(lane_key)::text, part)
$$;

CREATE OR REPLACE FUNCTION penstock.hold_progress(lane_key text[], holds jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    held int;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(penstock.progress_lock(lane_key, h.partition))
    FROM jsonb_to_recordset(holds) AS h(partition int) ORDER BY h.partition;
    PERFORM 1 FROM penstock.progress p
    JOIN jsonb_to_recordset(holds) AS h(partition int, epoch bigint)
        ON p.partition = h.partition AND p.epoch = h.epoch
    WHERE (p.pipeline, p.log_id, p.segment, p.lane)
        = (lane_key[1], lane_key[2], lane_key[3], lane_key[4])
    ORDER BY p.partition FOR NO KEY UPDATE OF p;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held <> jsonb_array_length(holds) THEN
        RAISE EXCEPTION 'another process has taken over lane %', lane_key[4]
            USING ERRCODE = 'PSF01';
    END IF;
END $$;

-- One message: a process that stalls here holds no lock.
CREATE OR REPLACE FUNCTION penstock.claim_progress(lane_key text[], claims jsonb)
RETURNS SETOF penstock.progress LANGUAGE plpgsql SET lock_timeout = '1s' AS $$
DECLARE
    claimed int;
BEGIN
    RETURN QUERY
    INSERT INTO penstock.progress AS p (pipeline, log_id, segment, lane, partition, epoch)
    SELECT lane_key[1], lane_key[2], lane_key[3], lane_key[4], c.partition, c.epoch
    FROM jsonb_to_recordset(claims) AS c(partition int, epoch bigint) ORDER BY c.partition
    ON CONFLICT (pipeline, log_id, segment, lane, partition) DO UPDATE SET epoch = excluded.epoch
    WHERE p.epoch <= excluded.epoch
    RETURNING p.*;
    GET DIAGNOSTICS claimed = ROW_COUNT;
    IF claimed <> jsonb_array_length(claims) THEN
        RAISE EXCEPTION 'another process has taken over lane %', lane_key[4]
            USING ERRCODE = 'PSF01';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION penstock.move_progress(lane_key text[], moves jsonb, fencing boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved int;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(penstock.progress_lock(lane_key, m.partition))
    FROM jsonb_to_recordset(moves) AS m(partition int) WHERE fencing ORDER BY m.partition;
    UPDATE penstock.progress p SET
        next = m.next,
        records = m.records, absent = m.absent, expanded = m.expanded, written = m.written,
        superseded = m.superseded, deleted = m.deleted, filtered = m.filtered,
        deduplicated = m.deduplicated, dead = m.dead,
        last_partition = m.last_partition, last_offset = m.last_offset, last_index = m.last_index,
        plan = m.plan, tail = m.tail, updated_at = clock_timestamp()
    FROM jsonb_to_recordset(moves) AS m(
        partition int, before_next bigint, before_epoch bigint, next bigint,
        records bigint, absent bigint, expanded bigint, written bigint, superseded bigint,
        deleted bigint, filtered bigint, deduplicated bigint, dead bigint,
        last_partition int, last_offset bigint, last_index bigint, plan text, tail text)
    WHERE (p.pipeline, p.log_id, p.segment, p.lane)
            = (lane_key[1], lane_key[2], lane_key[3], lane_key[4])
        AND p.partition = m.partition
        AND (NOT fencing OR (p.next = m.before_next AND p.epoch = m.before_epoch));
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> jsonb_array_length(moves) THEN
        RAISE EXCEPTION 'another process has taken over lane %', lane_key[4]
            USING ERRCODE = 'PSF01';
    END IF;
END $$;
"""

_CLAIM = "SELECT * FROM penstock.claim_progress(%s, %s::jsonb) ORDER BY partition"

_HOLDERS = """
SELECT DISTINCT a.pid, a.usename,
    a.application_name LIKE 'penstock:%%' AND pg_has_role(a.usesysid, 'USAGE') AS ours
FROM jsonb_array_elements(%s) AS c
JOIN LATERAL (SELECT penstock.progress_lock(%s, (c->>'partition')::int) AS id) AS k ON true
JOIN pg_locks AS l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND (l.classid::bigint << 32 | l.objid::bigint) = k.id
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.pid <> pg_backend_pid()
"""


def install(connection: psycopg.Connection[Any]) -> None:
    """Create the tables and their functions where they are missing.

    Args:
        connection: In autocommit, with the right to create a schema on first use.
    """
    found = connection.execute(
        "SELECT obj_description(to_regclass('penstock.progress'), 'pg_class')"
    ).fetchone()
    if found and found[0] == _VERSION:
        return
    with connection.transaction():
        # two first starts at once would collide in the catalog
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('penstock.install'))")
        connection.execute(_TABLES)
        comment = sql.SQL("COMMENT ON TABLE penstock.progress IS {}")
        connection.execute(comment.format(sql.Literal(_VERSION)))


def installed(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database holds progress of any lane's at all."""
    found = connection.execute("SELECT to_regclass('penstock.progress') IS NOT NULL").fetchone()
    return bool(found and found[0])


def read(connection: psycopg.Connection[Any], key: LaneKey) -> dict[int, Progress]:
    """Say where the lane stands in each partition; empty when it never began."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(
            "SELECT * FROM penstock.progress "
            "WHERE (pipeline, log_id, segment, lane) = (%s, %s, %s, %s) ORDER BY partition",
            _parts(key),
        )
        return {row["partition"]: _progress(row) for row in cursor}


def claim(
    connection: psycopg.Connection[Any], key: LaneKey, epochs: Mapping[int, int]
) -> dict[int, Progress]:
    """Raise the epoch of these partitions and say where each stands.

    A predecessor whose transaction is still open after a second is disconnected.

    Args:
        connection: In autocommit, and not the one that writes rows.
        key: The lane.
        epochs: The epoch of the caller's lease, for each partition.

    Raises:
        Fenced: A higher epoch is there already; no epoch was raised.
        Unavailable: Somebody locks the rows who is not Penstock, or has another role.
    """
    left: list[str] = []
    for _ in range(ATTEMPTS):
        try:
            return _claim(connection, key, epochs)
        except psycopg.errors.LockNotAvailable:
            left = _end_holders(connection, key, epochs)
    raise Unavailable(
        f"the progress of lane {key.lane!r} is locked by "
        f"{', '.join(left) or 'a session that is not of Penstock'}; end the process or the "
        "transaction that holds rows of penstock.progress, as its role or as a superuser"
    )


def move(
    connection: psycopg.Connection[Any], key: LaneKey, steps: Mapping[int, Step]
) -> dict[int, Progress]:
    """Move the progress inside the caller's transaction.

    Args:
        connection: Inside the transaction that wrote the rows.
        key: The lane.
        steps: Each partition's progress as read and as it shall be; the epoch stays.

    Returns:
        The progress as stored.

    Raises:
        Fenced: The stored `next` or `epoch` is not the step's `before`.
    """
    try:
        connection.execute(move_statement(key, steps).as_string())
    except psycopg.Error as error:
        if error.sqlstate == FENCED:
            raise fenced(key) from error
        raise
    return {partition: stored(step) for partition, step in steps.items()}


def hold_statement(key: LaneKey, epochs: Mapping[int, int]) -> sql.Composable:
    """Compose the statement that locks these partitions for a writer's transaction.

    It fails with SQLSTATE `FENCED` when an epoch is not the stored one. A writer calls it before
    its first row, so that a successor's `claim` finds whom to disconnect.
    """
    if not faults.enabled("fencing"):
        return sql.SQL("SELECT 1")
    holds = [{"partition": p, "epoch": e} for p, e in epochs.items()]
    text = sql.SQL("SELECT penstock.hold_progress({}, {}::jsonb)")
    return text.format(_key_literal(key), sql.Literal(json.dumps(holds)))


def move_statement(key: LaneKey, steps: Mapping[int, Step]) -> sql.Composable:
    """Compose the statement that moves the progress; SQLSTATE `FENCED` when it may not."""
    text = sql.SQL("SELECT penstock.move_progress({}, {}::jsonb, {})")
    fencing = sql.Literal(faults.enabled("fencing"))
    return text.format(_key_literal(key), sql.Literal(moves(steps)), fencing)


def moves(steps: Mapping[int, Step]) -> str:
    """Render steps as the JSON that `penstock.move_progress` takes."""
    return json.dumps([_move(partition, step) for partition, step in sorted(steps.items())])


def stored(step: Step) -> Progress:
    """Tell what a successful move stores: `after`, with the epoch of `before`."""
    after = step.after
    return Progress(after.next, step.before.epoch, after.totals, after.last, after.plan, after.tail)


def fenced(key: LaneKey) -> Fenced:
    """Build the error that says who lost what."""
    return Fenced(
        f"another process has taken over lane {key.lane!r} of pipeline {key.pipeline!r}; "
        "this one stops writing to it"
    )


def _claim(
    connection: psycopg.Connection[Any], key: LaneKey, epochs: Mapping[int, int]
) -> dict[int, Progress]:
    with connection.cursor(row_factory=dict_row) as cursor:
        try:
            cursor.execute(_CLAIM, (list(_parts(key)), _epochs_json(epochs)))
        except psycopg.Error as error:
            if error.sqlstate == FENCED:
                raise fenced(key) from error
            raise
        return {row["partition"]: _progress(row) for row in cursor}


def _end_holders(
    connection: psycopg.Connection[Any], key: LaneKey, epochs: Mapping[int, int]
) -> list[str]:
    """Disconnect writers of these partitions; tells of those that this role may not end."""
    holders = connection.execute(_HOLDERS, (_epochs_json(epochs), list(_parts(key)))).fetchall()
    left = []
    for pid, role, ours in holders:
        if ours and faults.enabled("fencing"):
            connection.execute("SELECT pg_terminate_backend(%s, 2000)", (pid,))
        else:
            left.append(f"session {pid} of role {role!r}")
    return left


def _move(partition: int, step: Step) -> dict[str, object]:
    after = step.after
    last = after.last
    return {
        "partition": partition,
        "before_next": step.before.next,
        "before_epoch": step.before.epoch,
        "next": after.next,
        **vars(after.totals),
        "last_partition": last.partition if last else None,
        "last_offset": last.offset if last else None,
        "last_index": last.index if last else None,
        "plan": after.plan,
        "tail": after.tail,
    }


def _progress(row: Mapping[str, Any]) -> Progress:
    last = None
    if row["last_offset"] is not None:
        last = Position(row["last_partition"], row["last_offset"], row["last_index"])
    totals = Counts(**{name: row[name] for name in _COUNTS})
    return Progress(row["next"], row["epoch"], totals, last, row["plan"], row["tail"])


def _parts(key: LaneKey) -> tuple[str, str, str, str]:
    return key.pipeline, key.log_id, key.segment, key.lane


def _key_literal(key: LaneKey) -> sql.Composable:
    parts: Iterable[sql.Composable] = map(sql.Literal, _parts(key))
    return sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(parts))


def _epochs_json(epochs: Mapping[int, int]) -> str:
    return json.dumps([{"partition": p, "epoch": e} for p, e in sorted(epochs.items())])
