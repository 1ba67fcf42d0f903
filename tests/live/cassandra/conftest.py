"""Sinks on a keyspace that only this test uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from penstock import contract as ps
from penstock.profile import Store
from penstock.sinks.cassandra import CassandraSink
from penstock.testing.conformance.subjects import KEY, Person, lane

MakeSink = Callable[..., CassandraSink]


@pytest.fixture
def url(cassandra: str, keyspace: str) -> str:
    return f"{cassandra}/{keyspace}?replication=1"


@pytest.fixture
def make_sink(url: str) -> Iterator[MakeSink]:
    """Make sinks of a contract: `make_sink(Person, table="people", url=…, ttl="1h", …)`."""
    made: list[CassandraSink] = []

    def make(
        contract: type[ps.Contract] = Person,
        table: str = "people",
        url: str = url,
        mode: str = "upsert",
        **settings: Any,
    ) -> CassandraSink:
        tables: Mapping[str, Mapping[str, Any]] = {table: settings}
        key = replace(KEY, lane=f"{table}@serving")
        made.append(CassandraSink(Store("serving", url, tables), lane(contract, mode, table), key))
        return made[-1]

    yield make
    for sink in made:
        sink.close()
