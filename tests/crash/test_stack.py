"""Kills on Kafka, a registry, Cassandra and PostgreSQL: of the process, and of each server."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.stack import clients
from tests.stack.servers import Servers

from penstock.engines.trials.blows import schedule
from penstock.engines.trials.crashtest import Trial, run

PEOPLE = Path(__file__).parent / "programs" / "people.py"
NAMES = ["kafka", "registry", "cassandra", "postgresql"]
SEED = 307
"""One whose first blows fall on every server."""


@pytest.fixture
def stack(own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Servers that may be killed, and a folder with a profile that names them; gives their URLs."""
    servers = {name: own_servers.start(name) for name in NAMES}
    urls = {name: server.url for name, server in servers.items()}
    tables = [
        f"[services.{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in given.items())
        for name, given in ((server.name, server.settings) for server in servers.values())
    ]
    profile = f"""
        [profiles.stack]
        home = "{urls["postgresql"]}"
        log = "{urls["kafka"]}"
        registry = "{urls["registry"]}"
        [profiles.stack.stores]
        warehouse = "{urls["postgresql"]}"
        serving = "{urls["cassandra"]}/people?replication=1"
    """
    (tmp_path / "penstock.toml").write_text("\n".join([profile, *tables]))
    monkeypatch.chdir(tmp_path)
    return urls


def left(urls: dict[str, str]) -> list[str]:
    """Whatever there is of a crash test's own in the servers."""
    with psycopg.connect(urls["postgresql"]) as session:
        found = [name for (name,) in session.execute("SELECT datname FROM pg_database")]
    with clients.cql(urls["cassandra"]) as session:
        statement = "SELECT keyspace_name FROM system_schema.keyspaces"
        found += [row.keyspace_name for row in session.execute(statement)]
    found += clients.topics(urls["kafka"])
    found += httpx.get(f"{urls['registry']}/subjects").json()
    return [name for name in found if "crash" in name]


def survived(own_servers: Servers, urls: dict[str, str], kills: int, seed: int) -> None:
    trial = Trial([PEOPLE], kills=kills, seed=seed, profile="stack", data=own_servers.folder)
    result = run(trial)
    assert result.differences == [], result.command
    assert result.blows > 0
    assert left(urls) == []


@pytest.mark.timeout(900)
def test_a_pipeline_survives(own_servers: Servers, stack: dict[str, str]) -> None:
    assert {*NAMES} < {blow.kind for blow in schedule(SEED, 6, 1, NAMES)}
    survived(own_servers, stack, 6, SEED)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [201, 202])
def test_a_pipeline_survives_for_long(
    own_servers: Servers, stack: dict[str, str], seed: int
) -> None:
    survived(own_servers, stack, 60, seed)
