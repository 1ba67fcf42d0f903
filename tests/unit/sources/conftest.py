"""Fixtures: a server of raw bytes and a clock that only waiting moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.sources.doubles import RawServer, StepClock


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer()
    yield server
    server.close()


@pytest.fixture
def clock() -> StepClock:
    return StepClock()
