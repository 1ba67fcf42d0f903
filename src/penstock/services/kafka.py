"""Kafka: one process that is broker and controller (KRaft)."""

from __future__ import annotations

import base64
import socket
import struct
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from penstock.services import artifacts, jvm
from penstock.services.daemon import Launch
from penstock.services.formatting import formatted
from penstock.services.ports import HOST
from penstock.services.settings import Defaults, Settings, as_text

_LOGGING = """\
log4j.rootLogger=INFO, out
log4j.logger.org.apache.kafka.common.config.AbstractConfig=WARN
log4j.logger.kafka.server.KafkaConfig=WARN
log4j.logger.org.apache.kafka.controller=WARN
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1} - %m%n
"""

_METADATA, _METADATA_VERSION = 3, 4


class Kafka:
    """The recipe of a Kafka broker. Its listener PLAINTEXT is at `port`, its controller after it.

    Args:
        settings: Port, memory, folder; `settings.settings` are those of `server.properties`.
        mirror: Where its jars come from.
    """

    name = "kafka"
    defaults = Defaults(port=9092, memory="512m", folder="kafka")

    def __init__(self, settings: Settings, mirror: str | None = None) -> None:
        self._settings = settings
        self._mirror = mirror
        self._home = settings.data

    @property
    def url(self) -> str:
        return f"kafka://{HOST}:{self._settings.port}"

    @property
    def ports(self) -> Mapping[str, int]:
        return self._settings.ports

    def prepare(self) -> Launch:
        jars = artifacts.classpath("kafka", mirror=self._mirror)
        formatted("Kafka", self._home / "data", partial(self._tool, jars))
        config = self._configure("data")
        logging = self._home / "log4j.properties"
        logging.write_text(_LOGGING)
        program = jvm.Program(
            jars,
            "kafka.Kafka",
            options=[f"-Xmx{self._settings.memory}"],
            properties={
                "log4j.configuration": logging.as_uri(),
                "log4j2.StatusLogger.level": "OFF",  # of the logging that it does not use
            },
            arguments=[str(config)],
        )
        return jvm.launch(program, self._home)

    def ready(self) -> bool:
        return _brokers(self._settings.port) > 0

    def _configure(self, data: str) -> Path:
        port, internal = self._settings.port, self._settings.internal_port
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{internal}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{internal}",
            "log.dirs": data,  # below the server's folder, where it runs
            "auto.create.topics.enable": False,
            # A killed broker comes back no sooner than its old session has ended.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 1000,
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            **self._settings.settings,
        }
        config = self._home / "server.properties"
        jvm.properties_file(config, {name: as_text(value) for name, value in settings.items()})
        return config

    def _tool(self, jars: list[Path], fresh: Path) -> Launch:
        """Run Kafka's own tool, which makes a data folder."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", "-t", cluster.replace("-", "A"), "-c", self._configure(fresh.name)]
        program = jvm.Program(
            jars,
            "kafka.tools.StorageTool",
            options=["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
            arguments=list(map(str, arguments)),
        )
        return jvm.launch(program, self._home)


def _brokers(port: int) -> int:
    """Ask for metadata and count the brokers that serve; 0 where no Kafka answers."""
    client = b"penstock"
    header = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, len(client)) + client
    request = header + struct.pack(">i?", 0, False)  # of no topics, and create none
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.makefile("rb").read(16)
    except OSError:
        return 0
    if len(answer) < 16:
        return 0
    _, correlation, _, brokers = struct.unpack(">iiii", answer)
    return int(brokers) if correlation == 1 else 0
