"""The test session's own servers answer to plain clients, and none outlives a killed session."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped]

SLEEPER = "import sys, time; print('up', flush=True); time.sleep(600)"
SESSION = """
import os, signal, subprocess, sys
from pathlib import Path
from tests.stack.watchdog import watched

folder = Path(sys.argv[1])
with watched(folder):
    words = [sys.executable, "-c", sys.argv[2]]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True, cwd=folder)
    server.stdout.readline()
    print(server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kafka_answers(kafka: str, topic_name: str) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    place = urlsplit(kafka).netloc
    admin = AdminClient({"bootstrap.servers": place})
    [made] = admin.create_topics([NewTopic(topic_name, 1)]).values()
    made.result(30)
    producer = Producer({"bootstrap.servers": place})
    producer.produce(topic_name, b"x")
    assert producer.flush(30) == 0


def test_the_registry_answers(registry: str) -> None:
    subject = f"{registry}/subjects/fixtures-value/versions"
    given = {"schema": json.dumps("string")}
    assert httpx.post(subject, json=given, timeout=30).json()["id"] > 0


def test_cassandra_answers(cql: Any, keyspace: str) -> None:
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    cql.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    cql.execute(f"CREATE TABLE {keyspace}.t (a int PRIMARY KEY)")
    cql.execute(f"INSERT INTO {keyspace}.t (a) VALUES (7)")
    assert cql.execute(f"SELECT a FROM {keyspace}.t").one().a == 7


def test_no_server_outlives_a_killed_session(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SESSION, str(tmp_path), SLEEPER]
    session = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
    server = int(session.stdout)
    assert session.returncode == -9
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(server).wait(30)
    assert not psutil.pid_exists(server)
