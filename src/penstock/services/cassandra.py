"""Cassandra: one node."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.errors import Refused
from penstock.services import artifacts, jvm
from penstock.services.daemon import Launch
from penstock.services.ports import HOST
from penstock.services.settings import Defaults, Settings

_NEWEST_JAVA = 23
"""Later ones lack the security manager, without which Cassandra 5.0 does not start."""

# What Cassandra takes from inside Java, as in its own jvm17-server.options.
_OPENED = """
java.base/java.io java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect
java.base/java.math java.base/java.net java.base/java.nio java.base/java.util
java.base/java.util.concurrent java.base/java.util.concurrent.atomic
java.base/jdk.internal.loader java.base/jdk.internal.math java.base/jdk.internal.misc
java.base/jdk.internal.module java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.util.jar java.base/jdk.internal.vm java.base/sun.nio.ch
java.logging/java.util.logging java.management/com.sun.jmx.remote.security
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry
java.rmi/sun.rmi.server java.rmi/sun.rmi.transport java.rmi/sun.rmi.transport.tcp
java.sql/java.sql jdk.management/com.sun.management.internal
"""

_LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{0} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""

_OPTIONS, _SUPPORTED = 5, 6
_FRAME = struct.Struct(">BBhBi")


class Cassandra:
    """The recipe of a Cassandra node. JMX, its management interface, is off.

    Args:
        settings: Port, memory, folder; `settings.settings` are those of `cassandra.yaml`.
        mirror: Where its jars come from.
    """

    name = "cassandra"
    defaults = Defaults(port=9042, memory="768m", folder="cassandra")

    def __init__(self, settings: Settings, mirror: str | None = None) -> None:
        self._settings = settings
        self._mirror = mirror
        self._home = settings.data

    @property
    def url(self) -> str:
        return f"cassandra://{HOST}:{self._settings.port}"

    @property
    def ports(self) -> Mapping[str, int]:
        return self._settings.ports

    def prepare(self) -> Launch:
        jars = artifacts.classpath("cassandra", mirror=self._mirror)
        agent = next((jar for jar in jars if jar.name.startswith("jamm-")), None)
        if agent is None:
            raise Refused("Cassandra's jars lack jamm; renew the lock of the jars")
        opened = [f"{how}={m}=ALL-UNNAMED" for m in _OPENED.split() for how in _OPENING]
        config, logging = self._home / "cassandra.yaml", self._home / "logback.xml"
        config.write_text(json.dumps(self._yaml(), indent=2))  # JSON is YAML
        logging.write_text(_LOGGING)
        program = jvm.Program(
            jars,
            "org.apache.cassandra.service.CassandraDaemon",
            options=[f"-Xmx{self._settings.memory}", f"-javaagent:{agent}", *opened],
            properties={
                "java.security.manager": "allow",
                "jdk.attach.allowAttachSelf": "true",
                "logback.configurationFile": logging.as_uri(),
                "cassandra.config": config.as_uri(),
                "cassandra.storagedir": str(self._home / "data"),
                # What a cluster waits for at a start, and one node need not.
                "cassandra.skip_wait_for_gossip_to_settle": "0",
                "cassandra.ring_delay_ms": "1",
                "cassandra.superuser_setup_delay_ms": "0",
            },
        )
        return jvm.launch(program, self._home, newest=_NEWEST_JAVA)

    def ready(self) -> bool:
        request = _FRAME.pack(4, 0, 0, _OPTIONS, 0)
        try:
            where = (HOST, self._settings.port)
            with socket.create_connection(where, timeout=5) as connection:
                connection.settimeout(5)
                connection.sendall(request)
                answer = connection.makefile("rb").read(_FRAME.size)
        except OSError:
            return False
        return len(answer) == _FRAME.size and _FRAME.unpack(answer)[3] == _SUPPORTED

    def _yaml(self) -> dict[str, Any]:
        return {
            "cluster_name": "penstock",
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "num_tokens": 1,
            **self._folders(self._home / "data"),
            "commitlog_sync": "group",  # periodic forgets what it has confirmed when it is killed
            "commitlog_sync_group_window": "2ms",
            "concurrent_writes": 128,  # each waits for the commit log, one row at a time
            "listen_address": HOST,
            "rpc_address": HOST,
            "native_transport_port": self._settings.port,
            "storage_port": self._settings.internal_port,
            "endpoint_snitch": "SimpleSnitch",
            "auto_snapshot": False,  # a dropped table would go on filling the disk
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": f"{HOST}:{self._settings.internal_port}"}],
                }
            ],
            **self._settings.settings,
        }

    @staticmethod
    def _folders(data: Path) -> dict[str, Any]:
        names = {
            "commitlog_directory": "commitlog",
            "saved_caches_directory": "saved_caches",
            "hints_directory": "hints",
            "cdc_raw_directory": "cdc",
        }
        folders = {setting: str(data / name) for setting, name in names.items()}
        return {"data_file_directories": [str(data / "tables")], **folders}


_OPENING = ("--add-opens", "--add-exports")
