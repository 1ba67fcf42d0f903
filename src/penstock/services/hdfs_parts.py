"""The two processes of an HDFS: how each is run, and how to tell that it is ready."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from penstock.services import artifacts, jvm
from penstock.services.daemon import Launch
from penstock.services.formatting import formatted
from penstock.services.ports import HOST
from penstock.services.settings import Settings, as_text

_LOGGING = """\
log4j.rootLogger=INFO, out
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.BlockStateChange=WARN
log4j.logger.http.requests=WARN
log4j.logger.org.apache.hadoop.hdfs.StateChange=WARN
log4j.logger.org.apache.hadoop.hdfs.server.namenode.FSNamesystem.audit=WARN
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1} - %m%n
"""

_INFO = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"


@dataclass(frozen=True)
class Place:
    """Where an HDFS is: its ports, its settings, where its jars come from.

    Args:
        settings: Those of the whole; `settings.settings` are those of `hdfs-site.xml`.
        mirror: Where its jars come from.
    """

    settings: Settings
    mirror: str | None

    @property
    def url(self) -> str:
        """Where the NameNode listens."""
        return f"hdfs://{HOST}:{self.settings.port}"

    def program(self, main: str, home: Path, folder: Path, arguments: Sequence[str]) -> Launch:
        """Configure one of the processes below `home` with its data in `folder`."""
        config = home / "conf"
        config.mkdir(exist_ok=True)
        (config / "log4j.properties").write_text(_LOGGING)
        site = _xml(self._site(folder))
        for name in ("core-site.xml", "hdfs-site.xml"):
            (config / name).write_text(site)
        jars = artifacts.classpath("hdfs", mirror=self.mirror)
        options = [f"-Xmx{self.settings.memory}", "-XX:+UseSerialGC"]
        program = jvm.Program(
            [config, *jars],
            f"org.apache.hadoop.hdfs.server.{main}",
            options=options,
            properties={"hadoop.home.dir": str(home)},
            arguments=arguments,
        )
        return jvm.launch(program, home)

    def _site(self, folder: Path) -> Mapping[str, Any]:
        inner = self.settings.internal_port
        return {
            "fs.defaultFS": self.url,
            "hadoop.tmp.dir": str(self.settings.data / "tmp"),
            "dfs.replication": 1,
            "dfs.namenode.name.dir": folder.as_uri(),
            "dfs.namenode.rpc-address": f"{HOST}:{self.settings.port}",
            "dfs.namenode.rpc-bind-host": HOST,
            "dfs.namenode.http-address": f"{HOST}:{inner}",
            "dfs.namenode.datanode.registration.ip-hostname-check": False,
            "dfs.namenode.safemode.extension": 0,  # one node has reported all there is
            "dfs.namenode.heartbeat.recheck-interval": 2000,
            "dfs.heartbeat.interval": 1,
            "dfs.datanode.data.dir": folder.as_uri(),
            "dfs.datanode.hostname": HOST,
            "dfs.datanode.address": f"{HOST}:{inner + 1}",
            "dfs.datanode.ipc.address": f"{HOST}:{inner + 2}",
            "dfs.datanode.http.address": f"{HOST}:0",
            "dfs.datanode.synconclose": True,  # a closed file survives a power cut
            **self.settings.settings,
        }

    def info(self) -> Mapping[str, Any]:
        """Ask the NameNode about itself; empty where none answers."""
        connection = http.client.HTTPConnection(HOST, self.settings.internal_port, timeout=5)
        try:
            connection.request("GET", _INFO)
            return dict(json.load(connection.getresponse())["beans"][0])
        except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
            return {}
        finally:
            connection.close()


@dataclass(frozen=True)
class _Part:
    """What both recipes have.

    Args:
        place: Where.
        home: Its own folder.
    """

    place: Place
    home: Path
    name = "hdfs"

    @property
    def url(self) -> str:
        return self.place.url


class NameNode(_Part):
    """The recipe of a NameNode, which keeps the names."""

    @property
    def ports(self) -> Mapping[str, int]:
        return self.place.settings.ports

    def prepare(self) -> Launch:
        data = self.home / "data"
        formatted("HDFS", data, self._tool)
        return self.place.program("namenode.NameNode", self.home, data, [])

    def ready(self) -> bool:
        return bool(self.place.info())

    def _tool(self, fresh: Path) -> Launch:
        arguments = ["-format", "-nonInteractive", "-clusterId", f"CID-{uuid.uuid4()}"]
        return self.place.program("namenode.NameNode", self.home, fresh, arguments)


class DataNode(_Part):
    """The recipe of a DataNode, which keeps the blocks."""

    @property
    def ports(self) -> Mapping[str, int]:
        return {"internal_port": self.place.settings.internal_port + 1}

    def prepare(self) -> Launch:
        return self.place.program("datanode.DataNode", self.home, self.home / "data", [])

    def ready(self) -> bool:
        """Whether it listens, and the NameNode counts on it and has heard enough for writes."""
        if not _listens(self.place.settings.internal_port + 1):
            return False
        info = self.place.info()
        live = json.loads(info.get("LiveNodes", "{}"))
        recent = [node for node in live.values() if node.get("lastContact", 99) < _SILENT]
        return bool(recent) and not info.get("Safemode")


_SILENT = 10
"""Seconds without a heartbeat after which a DataNode does not count as alive."""


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5):
            return True
    except OSError:
        return False


def _xml(settings: Mapping[str, Any]) -> str:
    properties = "".join(
        f"<property><name>{escape(name)}</name><value>{escape(as_text(value))}</value></property>\n"
        for name, value in settings.items()
    )
    return f"<configuration>\n{properties}</configuration>\n"
