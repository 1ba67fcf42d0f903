"""The Cassandra sink: effectively-once upserts and deletes by key."""

from importlib.util import find_spec

from penstock.errors import ProfileError

if find_spec("cassandra") is None:
    raise ProfileError("a store in Cassandra needs its driver: pip install 'penstock[cassandra]'")

from penstock.sinks.cassandra.sink import CassandraSink

__all__ = ["CassandraSink"]
