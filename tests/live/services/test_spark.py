"""A standalone Spark of our own: whole or said, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from tests.live.services.fake import stranger
from tests.stack.servers import Server, Servers, free_ports
from tests.stack.watchdog import servers_of, watched

from penstock.errors import Refused
from penstock.services import table

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("spark")]

APPLICATION = """
import sys
from pyspark.sql import SparkSession

builder = SparkSession.builder.master(sys.argv[1]).config("spark.ui.enabled", "false")
for name in ("spark.driver.host", "spark.driver.bindAddress"):
    builder = builder.config(name, "127.0.0.1")
context = builder.config("spark.executor.memory", "512m").getOrCreate().sparkContext
for line in sys.stdin:
    numbers = context.parallelize(range(7), 2).map(lambda number: number * number)
    print("counted", numbers.sum(), flush=True)
"""


@contextmanager
def application(url: str, java: Path) -> Iterator[Callable[[], str]]:
    """An application with an executor, which counts when it is called; killed in the end."""
    environment = {
        **os.environ,
        "JAVA_HOME": str(java.resolve().parent.parent),
        "PYSPARK_PYTHON": sys.executable,
    }
    command = [sys.executable, "-c", APPLICATION, url]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:

        def count() -> str:
            assert process.stdin
            assert process.stdout
            print("again", file=process.stdin, flush=True)
            return process.stdout.readline()

        try:
            assert count() == "counted 91\n"
            yield count
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def listening(folder: Path) -> set[str]:
    return {
        connection.laddr.ip
        for process in servers_of(folder)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def states(server: Server) -> list[str]:
    status = server.service.status()
    return [status.state, *(worker["state"] for worker in status.more["workers"])]


def test_nothing_is_left_of_it(own_servers: Servers, spark: Path) -> None:
    server = own_servers.start("spark", cores=1, memory="600m")
    assert states(server) == ["running", "running"]
    with application(server.url, spark):
        executors = servers_of(server.folder / "worker-1" / "work")
        assert executors
        assert listening(server.folder) <= {"127.0.0.1", "::ffff:127.0.0.1"}
        server.down()
        assert servers_of(server.folder) == []
    assert states(server) == ["stopped", "stopped"]


def test_a_killed_worker_is_replaced_and_its_executors_end(
    own_servers: Servers, spark: Path
) -> None:
    server = own_servers.start("spark", cores=1, memory="600m")
    master = server.service.status().pid
    with application(server.url, spark):
        executors = servers_of(server.folder / "worker-1" / "work")
        for executor in executors:
            executor.suspend()  # so that it does not notice by itself
        for process in servers_of(server.folder / "worker-1"):
            if process not in executors:
                process.kill()
        until(lambda: states(server) == ["died", "died"])
        server.up()
        assert states(server) == ["running", "running"]
        assert not any(executor.is_running() for executor in executors)
    assert server.service.status().pid == master


def test_a_killed_master_takes_back_what_it_had(own_servers: Servers, spark: Path) -> None:
    server = own_servers.start("spark", cores=1, memory="600m")
    [worker] = server.service.status().more["workers"]
    with application(server.url, spark) as count:
        server.kill("master")
        until(lambda: states(server)[0] == "died")
        server.up()
        assert server.service.status().more["workers"] == [worker]
        assert count() == "counted 91\n"
        server.kill("worker-1/work")
        assert count() == "counted 91\n", "the new master gives no executor"


def test_a_worker_too_many_is_stopped(own_servers: Servers) -> None:
    server = own_servers.start("spark", cores=1, workers=2)
    fewer = table.get("spark", {**server.settings, "workers": 1}, root=server.folder.parent)
    fewer.up()
    assert fewer.status().state == "running"
    assert servers_of(server.folder / "worker-1")
    assert servers_of(server.folder / "worker-2") == []


def test_a_starter_that_is_killed_leaves_nothing_unfound(tmp_path: Path) -> None:
    port, internal, *_ = free_ports(3)
    (tmp_path / "penstock.toml").write_text(
        f"[services.spark]\nport = {port}\ninternal_port = {internal}\ntimeout = '5m'\n"
    )
    up = [sys.executable, "-m", "penstock", "services", "up", "spark"]
    with watched(tmp_path), subprocess.Popen(up, cwd=tmp_path) as starter:
        until((tmp_path / ".penstock" / "spark" / "worker-1" / "server.pid").exists)
        starter.kill()
        starter.wait()
        subprocess.run(up, cwd=tmp_path, check=True, timeout=400)
        subprocess.run([*up[:-2], "down", "spark"], cwd=tmp_path, check=True, timeout=120)
        assert [p for p in servers_of(tmp_path) if "java" in p.name()] == []


@pytest.mark.parametrize(("which", "setting"), [(0, "port"), (2, "internal_port")])
def test_a_taken_port_is_said(which: int, setting: str, tmp_path: Path) -> None:
    ports = free_ports(3)
    settings = {"port": ports[0], "internal_port": ports[1]}
    with watched(tmp_path), stranger(ports[which]):
        service = table.get("spark", settings, root=tmp_path)
        with pytest.raises(Refused) as refused:
            service.up()
        assert servers_of(tmp_path) == []
        assert service.status().state == "stopped"
    assert f"port {ports[which]} is taken by process {os.getpid()}" in str(refused.value)
    assert f"set {setting} under [services.spark]" in str(refused.value)
