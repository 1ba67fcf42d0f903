"""Kills for real: a pipeline survives; without one of its guarantees the crash test says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import faults
from penstock.engines.crashtest import Trial, run, schedule

PEOPLE = Path(__file__).parent / "programs" / "people.py"

WITHIN = 20
"""Kills within which a missing guarantee must show."""

pytestmark = pytest.mark.timeout(600)


def test_a_schedule_is_drawn_from_its_seed() -> None:
    assert schedule(1, 20, 2) == schedule(1, 20, 2)
    assert schedule(1, 20, 2) != schedule(2, 20, 2)
    assert schedule(1, 20, 2)[:10] == schedule(1, 10, 2)


def test_a_pipeline_survives() -> None:
    result = run(Trial([PEOPLE], kills=8, seed=1))
    assert result.differences == []
    assert result.blows > 0


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
