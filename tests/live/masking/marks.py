"""Looks for a marker: everywhere that Penstock leaves anything, and in every form it may have."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from tests.live.project import Project

MARKER = "Zq7xMarker5kWv"
"""What is put into masked fields: found nowhere by chance."""

SECRET = "the key of these tests is no secret"


def forms() -> Iterator[bytes]:
    """The marker as it may be written: plain, in hex, in base64 at any place, in UTF-16."""
    for text in (MARKER, SECRET):
        raw = text.encode()
        for plain in (raw, raw.lower(), raw.upper(), raw[::-1], text.encode("utf-16-le")):
            yield plain
            yield plain.hex().encode()
            for shift in range(3):
                coded = base64.b64encode(b"\0" * shift + plain)
                yield coded[4 * bool(shift) : len(coded) // 4 * 4 - 4]


FORMS = tuple(forms())


def found(text: bytes) -> bytes:
    """What is around the marker in a text; nothing if it is not in it."""
    for form in FORMS:
        at = text.find(form)
        if at >= 0:
            return text[max(0, at - 200) : at + 200]
    return b""


def assert_clean(what: str, text: bytes) -> None:
    assert not found(text), f"{what} holds the marker: {found(text)!r}"


def assert_clean_database(url: str, raw: Collection[str]) -> int:
    """Look into every row of every table but those of `raw`; returns in how many it looked."""
    rows = 0
    with psycopg.connect(url, autocommit=True) as session:
        tables = session.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            if table in raw:
                continue
            where = sql.Identifier(schema, table)
            for (row,) in session.execute(sql.SQL("SELECT t::text FROM {} t").format(where)):
                rows += 1
                assert_clean(f"{schema}.{table}", row.encode())
        for (query,) in session.execute("SELECT query FROM pg_stat_activity").fetchall():
            assert_clean("pg_stat_activity", (query or "").encode())
    return rows


def holds_marker(url: str, table: str) -> bool:
    """Whether the marker is in a table: else nothing is proven by its absence elsewhere."""
    with psycopg.connect(url, autocommit=True) as session:
        rows = session.execute(f"SELECT t::text FROM {table} t").fetchall()
    return any(found(row.encode()) for (row,) in rows)


def assert_clean_topic(url: str, topic: str) -> int:
    """Look into every message of a topic of one partition; returns in how many it looked."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    servers = urlsplit(url).netloc
    settings = {"bootstrap.servers": servers, "group.id": "marks", "enable.partition.eof": True}
    consumer = Consumer(settings)
    messages = 0
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while True:
            message = consumer.poll(60)
            assert message is not None
            if error := message.error():
                assert error.code() == KafkaError._PARTITION_EOF, error
                break
            for part in (message.key(), message.value(), repr(message.headers()).encode()):
                assert_clean(f"topic {topic}", part or b"")
            messages += 1
    finally:
        consumer.close()
    return messages


def assert_clean_folder(folder: Path, sources: Collection[str]) -> int:
    """Look into every file but the sources'; returns in how many it looked."""
    files = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).parts[0] not in sources:
            assert_clean(str(path), path.read_bytes())
            files += 1
    return files


def said(project: Project, *words: str, both: bool = True) -> bytes:
    """Give a command for people, and for programs too; what it says has no marker in it."""
    everything = b""
    for given in (words, (*words, "--json")) if both else (words,):
        ran = project.penstock(*given, code=None)
        assert_clean(f"penstock {' '.join(given)}", ran.stdout + ran.stderr)
        everything += ran.stdout + ran.stderr
    return everything
