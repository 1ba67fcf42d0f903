"""A user's folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.live.project import Project


@pytest.fixture
def project(tmp_path: Path, database: str) -> Project:
    return Project(tmp_path, database)
