"""Kills on Spark: of the driver, of executors and their Pythons, of a master and its worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.stack import clients
from tests.stack.servers import Servers

from penstock.engines.trials import victims
from penstock.engines.trials.blows import schedule
from penstock.engines.trials.crashtest import Trial, run

PEOPLE = Path(__file__).parent / "programs" / "people.py"
EXECUTORS = "local-cluster[2,1,1024]"
NAMES = [victims.PYTHON, victims.EXECUTOR]
SEED = 16
"""One whose first blows are of several kinds."""

pytestmark = pytest.mark.timeout(1200)


def settle(engine: str, database: str, kafka: str, services: str = "") -> None:
    """Write a profile `cluster` in the current folder; executors stage every micro-batch."""
    stores = "".join(f"{s} = '{database}&schema={s}'\n" for s in ("warehouse", "serving"))
    Path("penstock.toml").write_text(f"""
        [profiles.cluster]
        home = "{database}"
        log = "{kafka}"
        engine = "{engine}"
        [profiles.cluster.spark]
        inline = 100
        driver_memory = "600m"
        [profiles.cluster.stores]
        {stores}
        {services}
    """)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def survived(kills: int, seed: int, kafka: str, data: Path) -> None:
    said: list[str] = []
    trial = Trial([PEOPLE], kills, seed, profile="cluster", data=data, said=said.append)
    result = run(trial)
    assert result.differences == [], [result.command, *said]
    assert result.blows > 0
    assert [name for name in clients.topics(kafka) if "crash" in name] == []


def test_a_pipeline_survives(folder: Path, database: str, kafka: str) -> None:
    assert len({blow.kind for blow in schedule(SEED, 4, 1, NAMES)}) == 4
    settle(EXECUTORS, database, kafka)
    survived(4, SEED, kafka, folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [301, 302])
def test_a_pipeline_survives_for_long(folder: Path, database: str, kafka: str, seed: int) -> None:
    settle(EXECUTORS, database, kafka)
    survived(30, seed, kafka, folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_pipeline_survives_its_master(
    own_servers: Servers, folder: Path, database: str, kafka: str
) -> None:
    master = own_servers.start("spark", cores=2)
    given = "".join(f"{k} = {json.dumps(v)}\n" for k, v in master.settings.items())
    settle(master.url, database, kafka, f"[services.spark]\n{given}")
    survived(20, 303, kafka, own_servers.folder)
