"""Whether a log is still the one that a pipeline's progress was made against."""

from __future__ import annotations

from penstock.errors import LogChanged
from penstock.home.database import Cursor


def recognise(cursor: Cursor, pipeline: str, name: str, log_id: str) -> None:
    """Remember a log's identity when it is first read, and refuse another one later.

    Args:
        cursor: In a transaction on home.
        pipeline: Who reads it.
        name: The log's name in the program.
        log_id: Its identity now.

    Raises:
        LogChanged: The pipeline has read another log of this name.
    """
    cursor.execute(
        "INSERT INTO penstock.known_logs (pipeline, name, log_id) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [pipeline, name, log_id],
    )
    cursor.execute(
        "SELECT log_id, since FROM penstock.known_logs WHERE pipeline = %s AND name = %s",
        [pipeline, name],
    )
    known, since = next(iter(cursor))
    if known != log_id:
        raise LogChanged(
            f"log {name!r} is not the one that pipeline {pipeline!r} has read since"
            f" {since:%Y-%m-%d}: its identity was {known} and is {log_id}, so it was re-created"
            " or comes from a backup. Bring the old one back, or run with --accept-log to read the"
            " new one from its start: its records count as newer than all of the old one."
        )


def accept(cursor: Cursor, pipeline: str, name: str, log_id: str) -> None:
    """Take a log for the one to read from now on: the answer to `LogChanged`.

    Progress is kept by identity, so every lane begins at the new log's start.

    Args:
        cursor: In a transaction on home.
        pipeline: Who reads it.
        name: The log's name in the program.
        log_id: Its identity now.
    """
    cursor.execute(
        "INSERT INTO penstock.known_logs (pipeline, name, log_id) VALUES (%s, %s, %s)"
        " ON CONFLICT (pipeline, name) DO UPDATE SET log_id = excluded.log_id, since = now()"
        " WHERE known_logs.log_id <> excluded.log_id",
        [pipeline, name, log_id],
    )
