"""Sessions that a stopped process left half-way: ended once they keep others waiting.

A process may be stopped between any two bytes that it sends, and its session keeps what it has
locked. No time-out of the server's ends a session that waits for the rest of a message, of a COPY
or of a pipeline. So those that wait find out whom they wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psycopg

from penstock.errors import PenstockError
from penstock.postgresql import connection

if TYPE_CHECKING:
    Asking = psycopg.Connection[Any] | psycopg.Cursor[Any]

PATIENCE = 1.0
"""Seconds that others wait before somebody looks for whom they wait."""

STALLED = 2.0
"""Seconds without a word from a client, inside a transaction that others wait for."""

_END = """
    SELECT pg_terminate_backend(session.pid, 2000) FROM (
        SELECT DISTINCT unnest(pg_blocking_pids(waiting.pid)) AS pid
        FROM pg_stat_activity AS waiting
        WHERE waiting.wait_event_type = 'Lock' AND waiting.datname = current_database()
        AND waiting.application_name LIKE 'penstock:%%'
    ) AS blocking JOIN pg_stat_activity AS session USING (pid)
    WHERE session.application_name LIKE 'penstock:%%' AND session.wait_event_type = 'Client'
    AND pg_has_role(session.usesysid, 'USAGE') AND session.pid <> pg_backend_pid()
    AND greatest(session.query_start, session.state_change)
        < clock_timestamp() - make_interval(secs => %s)
"""


def end(asking: Asking) -> None:
    """End sessions of Penstock's that others of Penstock's wait for though they do nothing.

    A process that was only starved connects again. Sessions of a role whose member this one is not
    are left alone: PostgreSQL shows neither their state, nor may they be ended.

    Args:
        asking: A session with the database in which somebody waits.
    """
    asking.execute(_END, [STALLED])


@contextmanager
def attended(url: str) -> Iterator[None]:
    """Do what may wait for locks; should it take long, end stalled sessions that are in the way.

    Args:
        url: The database, `postgresql://…`; connected to only after `PATIENCE` seconds.

    Example:
        >>> with attended(url), session.transaction():
        ...     session.execute("ALTER TABLE …")
    """
    over = Event()
    watch = Thread(target=_watch, args=(url, over), name="stalls", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(url: str, over: Event) -> None:
    if over.wait(PATIENCE):
        return
    # what cannot be reached or ended shows in the block itself, which goes on waiting
    with suppress(PenstockError, psycopg.Error), connection.connect(url, name="stalls") as session:
        while not over.is_set():
            end(session)
            over.wait(PATIENCE)
