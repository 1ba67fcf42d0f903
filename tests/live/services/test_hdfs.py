"""HDFS here: what it holds survives, it listens here only, damage and death are said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from tests.stack.servers import Server, Servers
from tests.stack.watchdog import servers_of

from penstock.errors import Refused, Unavailable
from penstock.filesystems import open_url

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Servers(tmp_path_factory.mktemp("hdfs")) as servers:
        yield servers.start("hdfs")


def test_what_it_holds_survives(server: Server) -> None:
    files = open_url(f"{server.url}/kept")
    files.write("a/f", [b"value"])
    server.kill()
    assert server.service.status().state == "died"
    with pytest.raises(Unavailable):
        files.read("a/f")
    server.up()
    assert files.read("a/f") == b"value"
    server.down()
    assert server.service.status().state == "stopped"
    server.up()
    assert open_url(f"{server.url}/kept").read("a/f") == b"value"


def test_it_listens_here_only(server: Server) -> None:
    server.up()
    sockets = [c for p in servers_of(server.folder) for c in p.net_connections()]
    listening = {c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening


def test_a_dead_datanode_is_said_and_comes_back(server: Server) -> None:
    server.up()
    server.kill("datanode")
    state = server.service.status()
    assert state.state == "died"
    assert state.more["datanode"]["pid"] is None
    assert server.service.up() == server.url
    open_url(server.url).write("after", [b"1"])


def test_a_damaged_data_folder_is_said(own_servers: Servers) -> None:
    server = own_servers.start("hdfs")
    server.down()
    version: Path = server.folder / "namenode" / "data" / "current" / "VERSION"
    version.write_bytes(b"\xff\x00 this is not what was here")
    with pytest.raises(Refused) as refused:
        server.up()
    assert "to begin anew" in str(refused.value)
    assert server.service.status().state != "running"
