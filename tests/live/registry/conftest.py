"""Pipelines whose topics hold what a registry describes, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl
import pytest
from tests.live.engine import conftest as engines
from tests.live.engine.conftest import Place
from tests.live.registry.fake import FakeRegistry, serving

from penstock import plan
from penstock.engines.reconciling.reconcile import Report, reconcile
from penstock.engines.systems import Systems
from penstock.home import deadletters
from penstock.home.database import Home
from penstock.home.deadletters import Selection
from penstock.logs.postgresql import open_topic
from penstock.pipeline import Pipeline
from penstock.profile import AVRO, Profile
from penstock.records import Limits
from penstock.serdes import formats

background = engines.background


@dataclass
class Registered(Place):
    """A place whose topics have a registry."""

    registry: str = ""
    format: str = AVRO
    formats: Mapping[str, str] = field(default_factory=dict)

    def profile(self, **stores: str) -> Profile:
        plain = super().profile(**stores)
        return replace(plain, registry=self.registry, format=self.format, formats=self.formats)

    def reconcile(self, pipeline: Pipeline, *, deep: bool = True) -> Report:
        profile = self.profile()
        segments = plan.compile(pipeline, formats.codecs(profile))
        with Systems(profile, pipeline.name) as systems:
            return reconcile(pipeline.name, segments, systems, deep=deep)

    def produce(self, topic: str, values: list[bytes]) -> None:
        """Write to a topic as a foreign producer does."""
        log = open_topic(self.url, topic, 1)
        try:
            log.append(pl.DataFrame({"value": pl.Series(values, dtype=pl.Binary)}))
        finally:
            log.close()

    def values(self, topic: str) -> list[bytes]:
        """What a foreign consumer reads."""
        log = open_topic(self.url, topic)
        try:
            starts = {p: span.start for p, span in log.spans().items()}
            return log.read(starts, Limits(100_000, 1 << 30)).records["value"].to_list()
        finally:
            log.close()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with serving(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def faked(database: str, fake: FakeRegistry) -> Registered:
    """A place with the registry of `fake`."""
    return Registered(database, registry=fake.url)


@pytest.fixture
def place(database: str, registry: str) -> Registered:
    """A place with a real registry."""
    return Registered(database, registry=registry)


def causes(place: Registered, pipeline: Pipeline) -> list[tuple[str, str, str]]:
    """Field, rule and value of each dead letter, in the order of the log."""
    with Home(place.url, name="test") as home, home.transaction() as cursor:
        found = deadletters.find(cursor, Selection(pipeline.name), states=["dead"], most=1000)
    found = sorted(found, key=lambda letter: letter.position)
    return [(f.cause.field, f.cause.rule, f.cause.value) for f in found]
