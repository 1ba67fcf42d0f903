"""A folder with real servers for one benchmark: PostgreSQL, Kafka and, if asked for, Cassandra."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.measure import Run
from benchmarks.records import records
from benchmarks.site import Site, site
from penstock.services.artifacts import lock

PROFILE = "stack"
KEYSPACE = "benchmarks"

LEAD = 5
"""Seconds that a pipeline has to start before records come."""


@dataclass(frozen=True)
class Stack:
    """A site whose topics are in Kafka.

    Args:
        here: The folder and its PostgreSQL.
        kafka: `host:port` of the broker.
        cassandra: `host:port` of Cassandra; empty without.
    """

    here: Site
    kafka: str
    cassandra: str = ""

    def pipeline(
        self, program: str, *options: str, **environment: str
    ) -> tuple[Run, dict[str, Any]]:
        """Run a program of `benchmarks/programs` on these servers; it must balance."""
        return self.here.pipeline(program, *options, "--profile", PROFILE, **environment)


@contextmanager
def stack(*names: str) -> Iterator[Stack]:
    """Start servers on free ports in a folder of their own, and take all away at the end.

    Args:
        names: `kafka`, `cassandra`.
    """
    ports = {name: _free_port() for name in names}
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    with site() as here:
        (here.folder / "penstock.toml").write_text(_settings(ports, addresses))
        command = [sys.executable, "-m", "penstock", "services"]
        try:
            # Errors are shown: the first start may fetch the servers, and say so.
            up = [*command, "up", *names, "--json"]
            subprocess.run(up, cwd=here.folder, check=True, stdout=subprocess.PIPE)
            yield Stack(here, addresses["kafka"], addresses.get("cassandra", ""))
        finally:
            down = [*command, "down", *names]
            subprocess.run(down, cwd=here.folder, check=False, capture_output=True)


def versions(names: Sequence[str]) -> str:
    """Name the servers' versions."""
    found = {a.name: a for name in names for a in lock.group(name).files}
    wanted = {"kafka": "kafka_2.13-", "cassandra": "cassandra-all-"}
    jars = [next(jar for jar in found if jar.startswith(wanted[name])) for name in names]
    return ", ".join(jar.removesuffix(".jar") for jar in jars)


def create(kafka: str, topic: str, partitions: int) -> None:
    """Make a topic, as somebody does who knows nothing of Penstock."""
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, partitions)])[topic].result(60)


def fill(kafka: str, topic: str, count: int) -> None:
    """Write `count` records, keyed by their UUID, with the usual client's defaults and lz4."""
    producer = _producer(kafka)
    for record in records(count, key="uid"):
        _produce(producer, topic, record)
    if left := producer.flush(120):
        raise AssertionError(f"{left} records did not get into {topic}")


def trickle(kafka: str, topic: str, rate: int, seconds: float) -> int:
    """Write `rate` records a second, a hundredth of them every 10 ms; returns how many.

    Begins after `LEAD` seconds, so that no backlog waits for a pipeline that starts meanwhile.
    """
    producer = _producer(kafka, linger=0)
    time.sleep(LEAD)
    each, sent = rate // 100, 0
    made = records(int(rate * seconds), key="uid")
    due = time.monotonic()
    for record in made:
        _produce(producer, topic, record)
        sent += 1
        if sent % each == 0:
            producer.poll(0)
            due += 0.01
            time.sleep(max(0.0, due - time.monotonic()))
    producer.flush(30)
    return sent


def _producer(kafka: str, linger: float = 20) -> Producer:
    return Producer(
        {"bootstrap.servers": kafka, "compression.type": "lz4", "acks": "all", "linger.ms": linger}
    )


def _produce(producer: Producer, topic: str, record: Mapping[str, str]) -> None:
    value = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    while True:
        try:
            producer.produce(topic, value, record["uid"])
        except BufferError:  # full: wait for the broker
            producer.poll(0.1)
        else:
            return


def _settings(ports: Mapping[str, int], addresses: Mapping[str, str]) -> str:
    services = [f"[services.{name}]\nport = {port}\n" for name, port in ports.items()]
    stores = ["warehouse", "serving"]
    lines = [f'{name} = "embedded:?schema={name}"' for name in stores]
    if "kafka" in addresses:
        lines.append(f'events = "kafka://{addresses["kafka"]}"')
    if "cassandra" in addresses:
        url = f"cassandra://{addresses['cassandra']}/{KEYSPACE}?replication=1"
        lines.append(f'wide = "{url}"')
    return "\n".join(
        [
            *services,
            f"[profiles.{PROFILE}]",
            'home = "embedded:"',
            f'log = "kafka://{addresses["kafka"]}"',
            f"[profiles.{PROFILE}.stores]",
            *lines,
            "",
        ]
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def burst(kafka: str, topic: str, size: int, seconds: float) -> int:
    """Write `size` records at once, each second anew; returns how many."""
    producer = _producer(kafka)
    sent = 0
    due = time.monotonic()
    for record in records(int(size * seconds), key="uid"):
        if sent % size == 0:
            producer.flush(30)
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1
        _produce(producer, topic, record)
        sent += 1
    producer.flush(30)
    return sent


def main() -> None:
    """`python -m benchmarks.stack trickle|burst KAFKA TOPIC RATE SECONDS`, a process of its own."""
    way, kafka, topic, rate, seconds = sys.argv[1:]
    write = {"trickle": trickle, "burst": burst}[way]
    print(write(kafka, topic, int(rate), float(seconds)))


def trickling(kafka: str, topic: str, rate: int, seconds: float) -> subprocess.Popen[str]:
    """Start `trickle` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stack", "trickle", kafka, topic]
    return subprocess.Popen(
        [*command, str(rate), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ},
    )


if __name__ == "__main__":
    main()
