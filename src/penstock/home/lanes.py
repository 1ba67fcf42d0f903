"""Short numbers for lanes: ledger and letters are many rows, their names are long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import astuple

from penstock.home.database import Cursor
from penstock.records import LaneKey


def numbers(cursor: Cursor, keys: Collection[LaneKey]) -> dict[LaneKey, int]:
    """Give each lane its number, a new one when it is met for the first time.

    Args:
        cursor: In a transaction on home.
        keys: Which lanes.
    """
    found = _find(cursor, keys)
    missing = sorted(astuple(key) for key in set(keys) - set(found))
    if missing:
        cursor.executemany(
            "INSERT INTO penstock.lanes (pipeline, log_id, segment, lane)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            missing,
        )
        found = _find(cursor, keys)
    return found


def _find(cursor: Cursor, keys: Collection[LaneKey]) -> dict[LaneKey, int]:
    cursor.execute(
        "SELECT pipeline, log_id, segment, lane, id FROM penstock.lanes"
        " JOIN unnest(%s::text[], %s::text[], %s::text[], %s::text[])"
        " AS given (pipeline, log_id, segment, lane) USING (pipeline, log_id, segment, lane)",
        [
            [key.pipeline for key in keys],
            [key.log_id for key in keys],
            [key.segment for key in keys],
            [key.lane for key in keys],
        ],
    )
    return {LaneKey(*row[:4]): row[4] for row in cursor}
