"""Avro in Kafka: what a pipeline writes, any client reads; what any client writes, it reads."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import fastavro
import httpx
import pytest
from confluent_kafka import Consumer
from tests.live.engine.conftest import Given, Place
from tests.live.kafka.producing import Owner
from tests.live.registry.conftest import Registered, causes
from tests.live.registry.fake import FakeRegistry
from tests.live.registry.test_pipelines import (
    PERSON,
    Person,
    User,
    message,
    people,
    program,
    reading,
    register,
)

import penstock as ps
from penstock.errors import Refused
from penstock.profile import Profile, Store


@dataclass
class OnKafka(Registered):
    """A place whose topics are in Kafka."""

    log: str = ""

    def profile(self, **stores: str) -> Profile:
        return replace(super().profile(**stores), log=self.log)


@pytest.fixture
def on_kafka(database: str, registry: str, kafka: str) -> OnKafka:
    return OnKafka(database, registry=registry, log=kafka)


def consumed(kafka: str, topic: str, count: int) -> list[bytes]:
    settings = {"bootstrap.servers": urlsplit(kafka).netloc, "group.id": topic, "log_level": 0}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[bytes] = []
    try:
        while len(found) < count:
            message = consumer.poll(60)
            assert message is not None, f"only {len(found)} of {count} messages came"
            assert message.error() is None
            value = message.value()
            assert isinstance(value, bytes)
            found.append(value)
    finally:
        consumer.close()
    return found


def test_what_a_pipeline_writes_any_client_reads(
    on_kafka: OnKafka, kafka: str, topic_name: str
) -> None:
    pipeline = program(Given.records(*people(300)), topic_name)
    on_kafka.run(pipeline)
    values = consumed(kafka, topic_name, 300)
    number = int.from_bytes(values[0][1:5], "big")
    found = httpx.get(f"{on_kafka.registry}/schemas/ids/{number}").json()
    parsed = fastavro.parse_schema(json.loads(found["schema"]))
    ages = []
    for value in values:
        record = fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed, None)
        assert isinstance(record, dict)
        ages.append(record["age"])
    assert sorted(ages) == list(range(300))
    assert on_kafka.rows("SELECT count(*) FROM one.users") == [(300,)]
    assert on_kafka.reconcile(pipeline).differences == ()


def test_what_any_client_writes_is_read(on_kafka: OnKafka, kafka: str, topic_name: str) -> None:
    number = register(on_kafka.registry, f"{topic_name}-value", PERSON)
    owner = Owner(kafka, topic_name)
    owner.make()
    good = [message(number, PERSON, person) for person in people(200)]
    owner.produce([*good, b"plain", good[0] + b"\0"])
    pipeline = reading(topic_name)
    on_kafka.run(pipeline)
    assert on_kafka.rows("SELECT count(*), sum(age) FROM one.people") == [(200, 19900)]
    assert [rule for _, rule, _ in causes(on_kafka, pipeline)] == [
        "does not begin with a 0 and the id of a schema",
        "something follows the document",
    ]
    assert on_kafka.reconcile(pipeline).differences == ()


def test_a_stores_registry_that_refuses_stops_its_lane_alone(
    database: str, fake: FakeRegistry, kafka: str, topic_name: str
) -> None:
    place = Place(database)
    given = place.profile()
    events = Store("events", kafka, prefix=f"{topic_name}.", registry=fake.url, format="avro")
    profile = replace(given, stores={**given.stores, "events": events})
    pipeline = ps.Pipeline(topic_name)
    source = Given.records(*people(200))
    users = pipeline.source(source, Person, land="raw").map(lambda r: r, User).topic("users")
    users.sink("users", store="one")
    users.sink("users", store="events", mode="append")
    fake.refuses = "age is missing"
    with pytest.raises(Refused, match=r"users-value', by .*: age is missing\. Change the contract"):
        place.run(pipeline, profile)
    assert place.rows("SELECT count(*) FROM one.users") == [(200,)]
    fake.refuses = ""
    place.run(pipeline, profile)
    assert len(consumed(kafka, f"{topic_name}.users", 200)) == 200
