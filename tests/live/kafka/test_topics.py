"""Topics are made as declared, grow, and never shrink."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from tests.live.kafka.producing import Owner

from penstock.errors import Refused
from penstock.logs.kafka import KafkaLog, client, open_topic, topics
from penstock.pipeline import Retention

Open = Callable[..., KafkaLog]


@pytest.fixture
def opened(kafka: str, topic_name: str) -> Iterator[Open]:
    logs = []

    def make(partitions: int | None = None, retention: Retention | None = None) -> KafkaLog:
        logs.append(open_topic(kafka, topic_name, partitions, retention))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


@pytest.fixture
def settings(kafka: str, topic_name: str) -> Callable[[str], str]:
    def ask(name: str) -> str:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic_name)
        admin = AdminClient({"bootstrap.servers": kafka.removeprefix("kafka://")})
        return str(admin.describe_configs([resource])[resource].result(60)[name].value)

    return ask


def test_a_topic_is_made_once(opened: Open) -> None:
    first, second = opened(3), opened(3)
    assert first.spans().keys() == {0, 1, 2}
    assert first.identity() == second.identity()
    assert first.identity().startswith("kafka:")


def test_partitions_grow_and_never_shrink(opened: Open) -> None:
    log = opened(1)
    assert opened(3).spans().keys() == {0, 1, 2}
    assert log.spans().keys() == {0, 1, 2}
    assert opened().spans().keys() == {0, 1, 2}
    with pytest.raises(Refused, match="3 partitions and cannot shrink to 2; write partitions=3"):
        opened(2)


def test_a_retention_is_set_and_a_change_is_said(
    opened: Open, settings: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "penstock"):
        opened(2, Retention(age="1d", size="1GB"))
        opened(2, Retention(age="1d", size="1GB"))
        assert not caplog.records
        assert settings("retention.bytes") == "500000000"
        opened(2, Retention(age="2d"))
    assert settings("retention.ms") == "172800000"
    assert settings("retention.bytes") == "500000000"
    assert "retention.ms was 86400000, is set to 172800000" in caplog.text


def test_the_retention_of_others_is_left_alone(
    kafka: str, topic_name: str, opened: Open, settings: Callable[[str], str]
) -> None:
    Owner(kafka, topic_name).make(config={"retention.ms": "1234567"})
    opened(None, Retention(age="2d"))
    assert settings("retention.ms") == "1234567"


def test_what_brokers_refuse_is_said(kafka: str, topic_name: str) -> None:
    with pytest.raises(Refused, match=r"replication=.*"):
        open_topic(f"{kafka}?replication=7", topic_name, 1)
    assert topics.find(client.admin(kafka), topic_name) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ü", "x" * 250, "a/b", "a\n"])
def test_names_that_kafka_does_not_take_are_refused(kafka: str, name: str) -> None:
    with pytest.raises(Refused, match="cannot be the name of a topic"):
        open_topic(kafka, name, 1)
