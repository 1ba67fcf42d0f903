"""Which lane writes a table: one, for two would undo each other's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from penstock.errors import Refused

if TYPE_CHECKING:
    import psycopg

    from penstock.records import LaneKey
    from penstock.sinks.postgresql.table import Table

_OWN = """
INSERT INTO penstock.tables (schema, name, pipeline, lane) VALUES (%s, %s, %s, %s)
ON CONFLICT (schema, name) DO UPDATE
SET pipeline = excluded.pipeline, lane = excluded.lane, since = now()
WHERE (tables.pipeline, tables.lane) <> (excluded.pipeline, excluded.lane)
"""


def own(connection: psycopg.Connection[Any], table: Table, lane: LaneKey) -> None:
    """Note that a lane writes a table; nobody else does, as `refuse_others` has found."""
    connection.execute(_OWN, (table.schema, table.name, lane.pipeline, lane.lane))


def refuse_others(connection: psycopg.Connection[Any], table: Table, lane: LaneKey) -> None:
    """Raise `Refused` when another lane writes a table that is there."""
    noted = connection.execute("SELECT to_regclass('penstock.tables') IS NOT NULL").fetchone()
    if noted != (True,):
        return
    place = (table.schema, table.name)
    query = "SELECT pipeline, lane FROM penstock.tables WHERE (schema, name) = (%s, %s)"
    found = connection.execute(query, place).fetchone()
    if found is None or found == (lane.pipeline, lane.lane):
        return
    forget = sql.SQL("DELETE FROM penstock.tables WHERE (schema, name) = ({}, {})").format(*place)
    raise Refused(
        f"{table.words} is written by lane {found[1]!r} of pipeline {found[0]!r}, and two that "
        "write one table undo each other's rows; name another table in .sink(...) or another "
        f"store. If that pipeline is gone or has a new name now, run in this store: "
        f"{forget.as_string(connection)}. A new name begins at the start of the log, so empty a "
        "table of appended rows first"
    )
