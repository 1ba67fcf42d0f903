"""Writes recorded records to a log, so that a trial's run reads what another one read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from psycopg import sql

from penstock.interfaces import Response
from penstock.logs import postgresql as logs
from penstock.postgresql import connection

if TYPE_CHECKING:
    import polars as pl

    from penstock.engines.systems import Systems
    from penstock.plan import Segment


def fill(
    systems: Systems, segment: Segment, partitions: int, frames: Iterable[pl.DataFrame]
) -> None:
    """Write records to the log that a segment reads; makes it, also when there are none.

    An empty log gives each record the offset that it has in any other one that was filled so.

    Args:
        systems: Entered.
        segment: Which log.
        partitions: How many the log has, if it is a topic.
        frames: `value`, and any of `partition`, `key`, `headers` and `born`, which stay as they
            are; `interfaces.Log` says how they look. A landing needs `born` and `headers`.

    Raises:
        Unavailable: The log's system is away.
        Refused: It says no.
    """
    if segment.kind == "landing":
        _land(systems, segment, frames)
    elif systems.log_url.startswith("kafka:"):
        from penstock.logs.kafka import aside

        aside.fill(systems.log_url, segment.name, partitions, frames)
    else:
        with closing(logs.open_topic(systems.log_url, segment.name, partitions)) as topic:
            for records in frames:
                topic.append(records)


def _land(systems: Systems, segment: Segment, frames: Iterable[pl.DataFrame]) -> None:
    table = sql.Identifier("landing", segment.name)
    statement = sql.SQL('UPDATE {} SET born = %s, headers = %s WHERE "offset" = %s').format(table)
    offset = 0
    with (
        closing(systems.landing(segment)) as landing,
        connection.connect(systems.home_url, name="trial") as session,
    ):
        landing.cursor()
        for records in frames:
            landing.append([Response(body, None) for body in records["value"].to_list()])
            columns = records.select("born", "headers").rows()
            numbered = enumerate(columns, offset)
            kept = landing.kept_headers
            facts = [(b, kept(None if h is None else h.decode()), at) for at, (b, h) in numbered]
            session.cursor().executemany(statement, facts)
            offset += records.height
