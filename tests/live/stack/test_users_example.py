"""The example on real servers of its own, as `make stack` runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stack.servers import free_ports, require
from tests.stack.watchdog import servers_of, watched

EXAMPLE = Path(__file__).parents[3] / "examples" / "users"
NAMES = ("kafka", "registry", "cassandra", "postgresql")


@pytest.mark.timeout(900)
def test_the_whole_of_it_ends_balanced_and_leaves_no_process(tmp_path: Path) -> None:
    require("kafka", "registry", "cassandra")
    folder = tmp_path / "users"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".penstock", "tests"))
    ports = free_ports(2 * len(NAMES))
    with (folder / "penstock.toml").open("a") as file:
        for name in NAMES:
            file.write(f"\n[services.{name}]\nport = {ports[NAMES.index(name)]}\n")
            file.write(f"internal_port = {ports[NAMES.index(name) + len(NAMES)]}\ntimeout = '5m'\n")
    kafka, registry, cassandra, postgresql = (f"127.0.0.1:{port}" for port in ports[:4])
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "SCHEMA_REGISTRY_URL": f"http://{registry}/apis/ccompat/v7",
        "CASSANDRA_HOST": cassandra,
        "CASSANDRA_KEYSPACE": "people",
        "POSTGRES_HOST": postgresql,
        "KAFKA_TOPIC": "people",
    }
    with watched(tmp_path):
        command = [sys.executable, "stack.py", "--for", "4s"]
        given = {**os.environ, **variables}
        done = subprocess.run(command, cwd=folder, env=given, capture_output=True, timeout=850)
        left = servers_of(tmp_path)
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert said.endswith("\nbalanced\n")
    assert "created_users has" in said
    assert left == []
