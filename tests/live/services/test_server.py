"""The life of a server, whatever it serves: found again, never twice, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from tests.live.services.fake import fake, free_port, stranger

from penstock.errors import Refused, Unavailable
from penstock.services import server as server_module
from penstock.services import together
from penstock.services.server import Server

ROOT = Path(__file__).parents[3]

STARTER = """
import os, signal, subprocess, sys
from pathlib import Path
from tests.live.services.fake import Fake, fake
from penstock.services import daemon

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

home, port, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
server = fake(home, port, sys.argv[4])
if moment == "spawning":
    daemon.subprocess.run = lambda *args, check, **more: die(subprocess.Popen(*args, **more))
if moment == "waiting":
    asked = []
    Fake.ready = lambda self: die() if asked else asked.append(self)
if moment == "stopping":
    server.up()
    daemon._await = die
    server.down()
server.up()
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> Iterator[Server]:
    made = fake(tmp_path / "fake", port)
    yield made
    made.down()


def starter(server: Server, port: int, moment: str, manner: str = "good") -> list[str]:
    return [sys.executable, "-c", STARTER, str(server.log.parent), str(port), moment, manner]


def process(server: Server) -> psutil.Process:
    found = server.daemon.process()
    assert found is not None
    return found


def kill(server: Server) -> None:
    process(server).kill()
    until(lambda: not server.daemon.lives())


def is_gone(found: psutil.Process) -> bool:
    try:
        return bool(found.status() == psutil.STATUS_ZOMBIE)  # its parent looks away
    except psutil.NoSuchProcess:
        return True


def test_it_runs_from_up_to_down(server: Server) -> None:
    assert server.status().state == "stopped"
    url = server.up()
    first = process(server)
    assert server.up() == url
    assert process(server) == first
    assert (server.status().state, server.status().pid) == ("running", first.pid)
    server.down()
    assert is_gone(first)
    assert (server.status().state, server.status().pid) == ("stopped", None)
    server.down()


def test_it_has_no_terminal_and_no_parent(server: Server) -> None:
    server.up()
    found = process(server)
    assert os.getsid(found.pid) not in {os.getsid(0), found.pid}
    assert found.ppid() != os.getpid()
    assert found.terminal() is None


@pytest.mark.parametrize("moment", ["spawning", "waiting"])
def test_a_killed_starter_leaves_nothing_that_is_not_found(
    server: Server, port: int, moment: str
) -> None:
    done = subprocess.run(starter(server, port, moment), cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    found = process(server)
    server.up()
    assert process(server) == found
    server.down()
    assert is_gone(found)


def test_a_killed_stopper_leaves_nothing_that_is_not_found(server: Server, port: int) -> None:
    done = subprocess.run(starter(server, port, "stopping", "stubborn"), cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert server.status().state == "running"
    kill(server)


def test_a_terminal_that_closes_takes_nothing_along(server: Server, port: int) -> None:
    with subprocess.Popen(
        starter(server, port, "never", "silent"), cwd=ROOT, start_new_session=True
    ) as terminal:
        until(lambda: server.daemon.lives() and server.log.stat().st_size > 0)
        found = process(server)
        os.killpg(terminal.pid, signal.SIGHUP)
        assert terminal.wait(30) == -signal.SIGHUP
    assert found.is_running()
    assert server.status().state == "not answering"


def test_a_number_that_was_reused_is_not_the_server(server: Server) -> None:
    server.up()
    server.down()
    (server.log.parent / "server.pid").write_text(f"{os.getpid()}\n")
    assert server.status().state == "died"
    assert server.status().pid is None
    server.down()  # and this process lives on
    server.up()
    assert process(server).pid != os.getpid()


def test_a_killed_server_comes_back(server: Server) -> None:
    server.up()
    kill(server)
    assert server.status().state == "died"
    server.up()
    assert server.status().state == "running"


def test_starting_at_once_starts_one(server: Server, port: int) -> None:
    others = [subprocess.Popen(starter(server, port, "never"), cwd=ROOT) for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        urls = list(pool.map(lambda _: server.up(), range(3)))
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(set(urls)) == 1
    assert server.log.read_text().count("begin") == 1


def test_a_taken_port_is_named(server: Server, port: int) -> None:
    with stranger(port), pytest.raises(Refused) as refused:
        server.up()
    said = str(refused.value)
    assert f"port {port} is taken by process {os.getpid()} (" in said
    assert "set port under [services.fake]" in said
    assert not server.daemon.lives()


def test_one_started_elsewhere_is_left_alone(server: Server, port: int, tmp_path: Path) -> None:
    other = fake(tmp_path / "other", port)
    other.up()
    try:
        assert server.up() == other.up()
        assert server.status().state == "elsewhere"
        server.down()
        assert other.status().state == "running"
    finally:
        other.down()


def test_why_it_died_is_said(tmp_path: Path, port: int) -> None:
    server = fake(tmp_path / "fake", port, "broken")
    with pytest.raises(Refused) as refused:
        server.up()
    first, second, *_ = str(refused.value).splitlines()
    assert first == "fake died while it started:"
    assert second == "ERROR the data is damaged: page 7"
    assert "INFO shutting down" in str(refused.value)
    assert server.status().state == "died"


def test_one_that_is_killed_while_it_starts_may_be_tried_again(tmp_path: Path, port: int) -> None:
    with pytest.raises(Unavailable, match="something killed it"):
        fake(tmp_path / "fake", port, "killed").up()
    server = fake(tmp_path / "fake", port)
    server.up()
    server.down()


def test_one_that_never_answers_is_stopped(tmp_path: Path, port: int) -> None:
    server = fake(tmp_path / "fake", port, "silent", timeout=2)
    with pytest.raises(Unavailable, match=r"did not answer within 2 s(.|\n)*begin silent"):
        server.up()
    assert server.status().state == "stopped"


def test_one_that_does_not_stop_is_killed(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STOP", 0.1)
    server = fake(tmp_path / "fake", port, "stubborn")
    server.up()
    found = process(server)
    server.down()
    assert is_gone(found)


def test_an_interrupt_stops_what_is_not_ready(tmp_path: Path, port: int) -> None:
    server = fake(tmp_path / "fake", port, "silent")
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Unavailable, match="stopped before it was ready"):
        server.up(stopping)
    assert server.status().state == "stopped"


def test_what_is_ready_stays_when_another_fails(server: Server, tmp_path: Path) -> None:
    broken = fake(tmp_path / "broken", free_port(), "broken")
    killed = fake(tmp_path / "killed", free_port(), "killed")
    said: list[str] = []
    with pytest.raises(Refused, match=r"page 7(.|\n)*something killed it"):
        together.up([broken, server, killed], said.append)
    assert [line.split(" after ")[0] for line in said] == ["fake is ready"]
    assert server.status().state == "running"


def test_names_with_spaces_and_quotes_will_do(tmp_path: Path, port: int) -> None:
    server = fake(tmp_path / 'it\'s a "$HOME" ünd; \\', port)
    server.up()
    assert server.status().state == "running"
    server.down()


def test_a_folder_of_somebody_else_is_said(tmp_path: Path, port: int) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be used: Not a directory"):
        fake(tmp_path / "file" / "fake", port).up()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said(tmp_path: Path, port: int) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        server = fake(small / "fake", port)
        server.up()
        server.down()
        with (small / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(1024))
        with pytest.raises(Unavailable, match=r"disk that holds .* is full"):
            server.up()
        assert not server.daemon.lives()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = threading.Event()
    for _ in range(3000):
        if condition():
            return
        deadline.wait(0.01)
    raise AssertionError("it did not happen")
