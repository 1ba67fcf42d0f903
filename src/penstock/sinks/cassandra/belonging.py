"""Which lane writes a table: one, for two would undo each other's rows."""

from __future__ import annotations

from penstock.errors import Refused
from penstock.records import LaneKey
from penstock.sinks.cassandra import cql
from penstock.sinks.cassandra.session import Session
from penstock.sinks.cassandra.table import Table, table_id

TABLE = "penstock_tables"

Writer = tuple[str, str]
"""Pipeline and lane."""

_LANE = ("pipeline", "lane")


def create_statement(keyspace: str) -> str:
    """The CQL that creates the table in which the lanes are noted."""
    name = f"{cql.quoted(keyspace)}.{TABLE}"
    return f"CREATE TABLE IF NOT EXISTS {name} (name text PRIMARY KEY, pipeline text, lane text)"


def writer(session: Session, table: Table) -> Writer | None:
    """Say which lane writes a table; None when nobody does."""
    if table_id(session, table.keyspace, TABLE) is None:
        return None
    query = cql.select(_books(table), _LANE, ["name"])
    rows = session.run_serial(query, [table.name])
    return (rows[0]["pipeline"], rows[0]["lane"]) if rows else None


def own(session: Session, table: Table, lane: LaneKey, before: Writer | None) -> None:
    """Note that a lane writes a table.

    Args:
        session: To the cluster.
        table: The table.
        lane: The lane.
        before: Who wrote the table of this name that is no more; None when nobody did.

    Raises:
        Refused: Another lane was quicker.
    """
    ours = (lane.pipeline, lane.lane)
    if before == ours:
        return
    if before is None:
        text = cql.insert(_books(table), ("name", *_LANE), "IF NOT EXISTS")
        values = [table.name, *ours]
    else:
        text = cql.update(_books(table), _LANE, ["name"], cql.same(_LANE))
        values = [*ours, table.name, *before]
    session.execute(session.prepare(text).bind(values))
    refuse_others(table, lane, writer(session, table))


def refuse_others(table: Table, lane: LaneKey, found: Writer | None) -> None:
    """Raise `Refused` when another lane writes a table that is there."""
    if found is None or found == (lane.pipeline, lane.lane):
        return
    forget = f"DELETE FROM {_books(table)} WHERE name = '{table.name}'"  # noqa: S608 - for people
    raise Refused(
        f"{table.words} is written by lane {found[1]!r} of pipeline {found[0]!r}, and two that "
        "write one table undo each other's rows; name another table in .sink(...) or another "
        f"store. If that pipeline is gone or has a new name now, run: {forget}"
    )


def _books(table: Table) -> str:
    return f"{cql.quoted(table.keyspace)}.{TABLE}"
