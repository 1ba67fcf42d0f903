"""The PostgreSQL sink: exactly-once upserts, deletes and appends by COPY."""

from penstock.sinks.postgresql.sink import PostgresqlSink

__all__ = ["PostgresqlSink"]
