"""Pathway: Kafka topic -> its own PostgreSQL connector, in static mode.

The checks are those of `pathway_postgres`. Run:
`python pathway_kafka.py KAFKA TOPIC ROWS HOST DBNAME USER checked|unchecked`.
"""

import sys

import pathway as pw
from pathway_postgres import Row, check, write


def main(kafka: str, topic: str, rows: str, *database: str) -> None:
    host, dbname, user, mode = database
    settings = {
        "bootstrap.servers": kafka,
        "group.id": "pathway",
        "auto.offset.reset": "earliest",
        "session.timeout.ms": "6000",
    }
    table = pw.io.kafka.read(settings, topic=topic, schema=Row, format="json", mode="static")
    write(check(table) if mode == "checked" else table, host, dbname, user)


if __name__ == "__main__":
    main(*sys.argv[1:])
