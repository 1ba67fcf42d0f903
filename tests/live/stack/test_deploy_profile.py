"""The profile of deploy/compose.yaml against real servers of the same versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.stack.servers import Servers

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "examples" / "users" / "users.py"


@pytest.fixture
def api() -> Iterator[str]:
    """The imitation of the users' API, in a process of its own."""
    words = [sys.executable, str(PROGRAM.with_name("api.py"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def environment(
    kafka: str,
    registry: str,
    cassandra: str,
    keyspace: str,
    topic_name: str,
    own_servers: Servers,
    api: str,
) -> dict[str, str]:
    """The variables that compose.yaml gives to its containers."""
    postgresql = own_servers.start("postgresql")
    return {
        "KAFKA_BOOTSTRAP_SERVERS": urlsplit(kafka).netloc,
        "KAFKA_TOPIC": f"{topic_name}_users",
        "SCHEMA_REGISTRY_URL": registry,
        "POSTGRES_HOST": f"127.0.0.1:{postgresql.settings['port']}",
        "POSTGRES_DB": "postgres",
        "POSTGRES_USER": "penstock",
        "POSTGRES_PASSWORD": (postgresql.folder / "password").read_text().split(":")[-1].strip(),
        "CASSANDRA_HOST": urlsplit(cassandra).netloc,
        "CASSANDRA_KEYSPACE": keyspace,
        "USERS_API": f"{api}?results=50",
        "PENSTOCK_PROFILE": "compose",
        "PENSTOCK_DATA": str(own_servers.folder / "data"),
    }


def penstock(environment: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *words, "--json"],
        cwd=ROOT / "deploy",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.timeout(900)
def test_the_profile_runs_the_users(environment: dict[str, str]) -> None:
    ran = penstock(environment, "run", str(PROGRAM), "--until-idle")
    written = {lane["lane"]: lane["counts"]["written"] for lane in ran["lanes"]}
    assert written["created_users@warehouse"] == written["created_users@serving"] == 50
    proof = penstock(environment, "reconcile", str(PROGRAM), "--deep")
    assert proof["balanced"]
    assert proof["lanes"][-1]["lag"] == 0
