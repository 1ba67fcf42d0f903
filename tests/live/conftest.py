"""A user's folder for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.project import Project, end_all

SYSTEMS = [
    "postgresql, postgresql",
    "kafka, postgresql",
    "postgresql, cassandra",
    "kafka + registry, cassandra",
]
"""What a test can be parametrised with: where the topics are, and where the store `one` is."""


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> Project:
    """A folder, all of whose systems are one PostgreSQL; by a parameter, some of `SYSTEMS`."""
    systems = getattr(request, "param", SYSTEMS[0])
    log, _, store = systems.partition(", ")
    given = Project(tmp_path, database)
    if "kafka" in log:
        given.log = request.getfixturevalue("kafka")
        given.prefix = request.getfixturevalue("topic_name") + "_"
    if "registry" in log:
        given.registry = request.getfixturevalue("registry")
    if store == "cassandra":
        place, keyspace = map(request.getfixturevalue, ("cassandra", "keyspace"))
        given.stores["one"] = f"{place}/{keyspace}?replication=1"
    given.settle()
    return given
