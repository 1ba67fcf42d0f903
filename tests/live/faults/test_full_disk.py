"""A disk that is full for a while: the run waits and says so, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.project import Project
from tests.stack.servers import Servers
from tests.stack.watchdog import servers_of

PROGRAM = """
import penstock as ps

class User(ps.Contract):
    id: str = ps.key()
    note: str

pipeline = ps.Pipeline("people")
source = ps.Generator(User, rows=4000, rate=1000)
users = pipeline.source(source, User, land="raw").topic("users")
users.sink("users", store="one")
users.sink("all_users", store="two", mode="append")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", str(path)]
    if done := subprocess.run(mount, capture_output=True, check=False).stderr:
        pytest.skip(f"a small disk cannot be mounted here: {done.decode()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(ballast: Path) -> None:
    """Write until there is no room left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass


def until_said(words: Path, process: subprocess.Popen[bytes], said: bytes) -> None:
    """Wait until a run has said something."""
    deadline = time.monotonic() + 120
    while said not in words.read_bytes():
        assert process.poll() is None, words.read_text()
        assert time.monotonic() < deadline, words.read_text()
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_a_full_disk_is_waited_for(tmp_path: Path, disk: Path) -> None:
    project = Project(tmp_path, "")
    project.environment = {"PENSTOCK_DATA": str(disk / "data"), "PENSTOCK_PROFILE": "embedded"}
    project.write(PROGRAM)
    project.penstock("services", "up", "embedded")
    try:
        words = tmp_path / "words"
        with words.open("wb") as said:
            process = project.start("run", "program.py", "--until-idle", said=said)
        until_said(words, process, b"source of raw is running")
        fill(disk / "ballast")  # in the middle of the run; any moment will do
        until_said(words, process, b"waiting")
        (disk / "ballast").unlink()
        process.wait(timeout=90)
        assert process.returncode == 0, words.read_text()
        project.balance()
    finally:
        project.penstock("services", "down", "embedded")


@pytest.mark.timeout(600)
def test_a_full_disk_of_a_broker_is_waited_for(
    tmp_path: Path, disk: Path, database: str, own_servers: Servers
) -> None:
    """The broker gives up; with room on its disk it starts again."""
    broker = own_servers.start("kafka", data=str(disk / "kafka"))
    project = Project(tmp_path, database, log=broker.url)
    project.write(PROGRAM)
    words = tmp_path / "words"
    with words.open("wb") as said:
        process = project.start("run", "program.py", "--until-idle", said=said)
    try:
        fill(disk / "ballast")
        deadline = time.monotonic() + 120
        while servers_of(broker.folder) or b"waiting" not in words.read_bytes():
            assert process.poll() is None, words.read_text()
            assert time.monotonic() < deadline, f"the broker lives on: {words.read_text()}"
            time.sleep(0.1)
        (disk / "ballast").unlink()
        broker.up()
        process.wait(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 0, words.read_text()
    project.balance()
