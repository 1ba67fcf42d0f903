"""A migrated home for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.home.database import Home


@pytest.fixture
def home(database: str) -> Iterator[Home]:
    with Home(database) as opened:
        yield opened
