"""A keyspace of a crash test's own, made and removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from penstock.sinks.cassandra import address
from penstock.sinks.cassandra.session import Session

_REPLICATION = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?"


@contextmanager
def made(url: str, beside: str) -> Iterator[None]:
    """Make a keyspace, and drop it at the end of the block.

    Args:
        url: Of the store whose keyspace is made; if it says how, the sink makes it.
        beside: Of the store whose keyspace it is to be like.

    Raises:
        Unavailable: Cassandra is away.
        Refused: The user may not create or drop a keyspace.
    """
    place = address.read(url)
    with closing(Session(place, "crashtest")) as session:
        like = session.run(_REPLICATION, [address.read(beside).keyspace])
        if like and place.replication is None:
            replication = like[0]["replication"].items()
            options = ", ".join(f"'{name}': '{value}'" for name, value in replication)
            session.change(f'CREATE KEYSPACE "{place.keyspace}" WITH replication = {{{options}}}')
    try:
        yield
    finally:
        with closing(Session(place, "crashtest")) as session:
            session.change(f'DROP KEYSPACE IF EXISTS "{place.keyspace}"')
