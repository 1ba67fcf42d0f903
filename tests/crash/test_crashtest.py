"""Kills for real: a pipeline survives; without one of its guarantees the crash test says so."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.conftest import Server

from penstock import faults
from penstock.engines.trials.blows import schedule
from penstock.engines.trials.crashtest import Trial, run

PEOPLE = Path(__file__).parent / "programs" / "people.py"
SERVERS = ["postgresql", "kafka"]

WITHIN = 20
"""Kills within which a missing guarantee must show."""

pytestmark = pytest.mark.timeout(600)


def test_a_schedule_is_drawn_from_its_seed() -> None:
    assert schedule(1, 20, 2, SERVERS) == schedule(1, 20, 2, SERVERS)
    assert schedule(1, 20, 2, SERVERS) != schedule(2, 20, 2, SERVERS)
    assert schedule(1, 20, 2, SERVERS)[:10] == schedule(1, 10, 2, SERVERS)
    assert {*SERVERS} < {blow.kind for blow in schedule(1, 100, 2, SERVERS)}


def test_a_pipeline_survives() -> None:
    result = run(Trial([PEOPLE], kills=8, seed=1))
    assert result.differences == []
    assert result.blows > 0


def test_on_a_server_of_yours_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Server, database: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stores = "".join(f"{s} = '{database}&schema={s}'\n" for s in ("warehouse", "serving"))
    profile = f"[profiles.mine]\nhome = '{database}'\nlog = '{database}'\n"
    Path("penstock.toml").write_text(f"{profile}[profiles.mine.stores]\n{stores}")
    result = run(Trial([PEOPLE], kills=5, seed=4, profile="mine"))
    assert result.differences == []
    assert result.blows > 0
    with psycopg.connect(postgres.url()) as session:
        found = session.execute("SELECT datname FROM pg_database WHERE datname ~ 'crash'")
        assert found.fetchall() == []
    with psycopg.connect(database) as session:
        assert session.execute("SELECT to_regnamespace('penstock')").fetchall() == [(None,)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_a_pipeline_survives_for_long(seed: int) -> None:
    assert run(Trial([PEOPLE], kills=100, seed=seed)).differences == []


@pytest.mark.parametrize("switch", faults.SWITCHES)
def test_without_a_guarantee_the_crash_test_fails(switch: str) -> None:
    result = run(Trial([PEOPLE], kills=WITHIN, seed=3, without=switch))
    assert not result.passed, f"nobody misses {switch} within {WITHIN} kills"
    assert f"--without {switch}" in result.command
