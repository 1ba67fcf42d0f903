"""Kafka's own programs, in Java, write what is read here and show how far lanes have come."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.live.kafka.producing import Owner
from tests.stack.servers import without

from penstock.errors import PenstockError
from penstock.logs.kafka import KafkaLog, open_topic
from penstock.records import Limits
from penstock.services import artifacts, java

ALL = Limits(records=1000, bytes=1 << 20)


@pytest.fixture
def log(kafka: str, topic_name: str) -> Iterator[KafkaLog]:
    Owner(kafka, topic_name).make()
    opened = open_topic(kafka, topic_name, pipeline="shop")
    yield opened
    opened.close()


def run(program: str, *arguments: str, said: str = "") -> str:
    """Run one of Kafka's programs."""
    try:
        path = ":".join(map(str, artifacts.classpath("kafka")))
        found = str(java.find(21))
    except PenstockError as error:
        without(f"Kafka's tools cannot be had here: {error}")
    command = [found, "-XX:TieredStopAtLevel=1", "-cp", path, program, *arguments]
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def place(kafka: str) -> str:
    return urlsplit(kafka).netloc


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_what_the_console_producer_writes_is_read(
    kafka: str, log: KafkaLog, compression: str
) -> None:
    run(
        "org.apache.kafka.tools.ConsoleProducer",
        *("--bootstrap-server", place(kafka), "--topic", log.name),
        *("--compression-codec", compression),
        *("--reader-property", "parse.key=true", "--reader-property", "parse.headers=true"),
        *("--reader-property", "null.marker=NULL"),
        said="h:1\tk1\tone ☃\nh:2\tk2\tNULL\n" + "h:3\tk3\t" + "x" * 5000 + "\n",
    )
    assert log.wait({0: 0}, 60)
    records = log.read({0: 0}, ALL).records
    values = [(b"k1", "one ☃".encode()), (b"k2", None), (b"k3", b"x" * 5000)]
    assert records.select("key", "value").rows() == values
    assert records["headers"].to_list() == [f'[["h", "{h}"]]'.encode() for h in HEADERS]


HEADERS = ("MQ==", "Mg==", "Mw==")


def test_the_tool_for_groups_shows_a_lanes_lag(kafka: str, log: KafkaLog, topic_name: str) -> None:
    Owner(kafka, topic_name).produce([b"x"] * 10)
    log.mark("things@store", {0: 7})
    log.close()
    shown = run(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        *("--bootstrap-server", place(kafka), "--describe"),
        *("--group", "penstock.shop.things@store"),
    )
    (line,) = [line.split() for line in shown.splitlines() if topic_name in line]
    assert line[2:6] == ["0", "7", "10", "3"]
