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
NAMES = ("kafka", "registry", "cassandra", "postgresql", "spark")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("program", ["stack.py", "cluster.py"])
def test_the_whole_of_it_ends_balanced_and_leaves_no_process(program: str, tmp_path: Path) -> None:
    names = NAMES if program == "cluster.py" else NAMES[:-1]
    require(*names)
    folder = tmp_path / "users"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".penstock", "tests"))
    ports = [free_ports(3) for _ in names]
    with (folder / "penstock.toml").open("a") as file:
        for name, (port, internal, _) in zip(names, ports, strict=True):
            file.write(f"\n[services.{name}]\nport = {port}\n")
            file.write(f"internal_port = {internal}\ntimeout = '5m'\n")
    at = {name: f"127.0.0.1:{port}" for name, (port, *_) in zip(names, ports, strict=True)}
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": at["kafka"],
        "SCHEMA_REGISTRY_URL": f"http://{at['registry']}/apis/ccompat/v7",
        "CASSANDRA_HOST": at["cassandra"],
        "CASSANDRA_KEYSPACE": "people",
        "POSTGRES_HOST": at["postgresql"],
        "SPARK_MASTER": f"spark://{at.get('spark')}",
        "KAFKA_TOPIC": "people",
    }
    with watched(tmp_path):
        command = [sys.executable, program, "--for", "4s"]
        given = {**os.environ, **variables}
        done = subprocess.run(command, cwd=folder, env=given, capture_output=True, timeout=850)
        left = servers_of(tmp_path)
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert said.endswith("\nbalanced\n")
    assert "created_users has" in said
    assert left == []
