"""Quix Streams: Kafka topic -> its own PostgreSQL sink; it has no way to check a whole record.

At-least-once, its default. Run:
`python quixstreams_kafka.py KAFKA TOPIC ROWS HOST DBNAME USER checked|unchecked`.
"""

import re
import sys
from datetime import datetime
from uuid import UUID

from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def good(row: dict) -> bool:
    """The checks and types of the others; raises for what is no UUID or datetime."""
    UUID(row["uid"])
    for name in ("dob", "registered_date"):
        datetime.fromisoformat(row[name])
    return (
        row["gender"] in ("female", "male")
        and row["post_code"] != ""
        and EMAIL.fullmatch(row["email"]) is not None
    )


def main(kafka: str, topic: str, rows: str, *database: str) -> None:
    host, dbname, user, mode = database
    app = Application(
        broker_address=kafka,
        consumer_group=f"quixstreams-{mode}",
        auto_offset_reset="earliest",
        commit_every=10_000,
    )
    frame = app.dataframe(app.topic(topic, value_deserializer="json"))
    if mode == "checked":
        frame = frame.filter(good)
    frame.sink(
        PostgreSQLSink(
            host=host,
            port=5432,
            dbname=dbname,
            user=user,
            password="none",
            table_name="peer",
            schema_auto_update=False,
            include_metadata=False,
        )
    )
    app.run(count=int(rows), timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
