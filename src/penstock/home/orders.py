"""Order stamps: base(log, partition) + offset, in microseconds, growing in log order for ever.

A base is fixed when the partition is first seen, after every stamp that can have been given by
then; so a re-created topic or an added partition comes later, and no clock can move a stamp back.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.home.database import Cursor

_CREATE = """
    WITH given AS (
        SELECT * FROM unnest(%(partitions)s::int[], %(ends)s::bigint[])
            AS given (partition, end_offset)
    ), greatest_given AS (
        SELECT max(base + greatest(
            seen,
            (SELECT max(end_offset) FROM penstock.tails JOIN penstock.lanes ON lanes.id = tails.lane
             WHERE lanes.log_id = known.log_id AND tails.partition = known.partition),
            (SELECT max(end_offset) FROM penstock.batches
             WHERE batches.log_id = known.log_id AND batches.partition = known.partition)
        )) AS stamp
        FROM penstock.order_bases AS known
    )
    INSERT INTO penstock.order_bases (log_id, partition, base, seen)
    SELECT %(log_id)s, partition,
        greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, stamp + 1), end_offset
    FROM given, greatest_given
    ON CONFLICT DO NOTHING
"""


def bases(cursor: Cursor, log_id: str, ends: Mapping[int, int]) -> dict[int, int]:
    """Give each partition of a log its base; the same ones whenever it is asked again.

    Call it when a log is opened and when partitions were added, before a record is stamped.

    Args:
        cursor: In a transaction on home.
        log_id: The log's identity.
        ends: For each partition the next offset to be given now.

    Returns:
        For each partition the base, in microseconds since 1970.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('penstock order stamps'))")
    given = {"log_id": log_id, "partitions": list(ends), "ends": list(ends.values())}
    cursor.execute(
        "UPDATE penstock.order_bases SET seen = greatest(seen, given.end_offset)"
        " FROM unnest(%(partitions)s::int[], %(ends)s::bigint[]) AS given (partition, end_offset)"
        " WHERE log_id = %(log_id)s AND order_bases.partition = given.partition",
        given,
    )
    cursor.execute(_CREATE, given)
    cursor.execute(
        "SELECT partition, base FROM penstock.order_bases"
        " WHERE log_id = %(log_id)s AND partition = ANY(%(partitions)s)",
        given,
    )
    return dict(cursor.fetchall())
