"""Airflow with the DAGs of this folder on 127.0.0.1, to try them: what `make airflow` runs.

    python serve.py --airflow PATH/TO/bin/airflow

It starts an imitation of the users' API unless `USERS_API` names one, Airflow's api-server,
scheduler and dag-processor, waits until all of them are healthy, and says how to log in. Ctrl-C or
SIGTERM ends everything that was started, tasks included. If one of them dies, the others end, too.
It is for one machine and one person: SQLite, one user, no TLS. `AIRFLOW_PASSWORD` sets its
password.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

import psutil

HERE = Path(__file__).resolve().parent
USERS = HERE.parents[1] / "examples" / "users"
USER, PASSWORD = "admin", "AIRFLOW_PASSWORD"
PATIENCE = 300.0
GRACE = 30.0
PR_SET_CHILD_SUBREAPER = 36


class Asked(Exception):
    """Somebody wants this to end."""


class Died(Exception):
    """A process ended by itself. The message says which, and why."""


def main() -> int:
    """Serve until asked to end; 1 when a process died."""
    options = arguments()
    os.umask(0o077)
    options.home.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ask)
    adopt_orphans()
    try:
        with ExitStack() as stack:
            stack.callback(end_all)
            serve(options)
    except Asked:
        return 0
    except Died as error:
        sys.stderr.write(f"{error}\n")
    return 1


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Airflow with Penstock's DAGs, on this machine.")
    parser.add_argument("--airflow", type=Path, required=True, help="the command `airflow`")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--host", default="127.0.0.1", help="where it listens")
    parser.add_argument("--home", type=Path, default=Path(".airflow"), help="Airflow's own data")
    given = parser.parse_args()
    given.home = given.home.absolute()
    given.airflow = given.airflow.absolute()
    return given


def serve(options: argparse.Namespace) -> None:
    """Start everything, and watch it.

    Raises:
        Died: A process ended by itself.
        Asked: By a signal.
    """
    env = settings(options.home, options.port)
    if "USERS_API" not in env:
        env["USERS_API"] = imitation(options.home)
    airflow = str(options.airflow)
    finished("db-migrate", [airflow, "db", "migrate"], options.home, env)
    port = str(options.port)
    running = {
        name: started(name, [airflow, name, *words], options.home, env)
        for name, words in {
            "api-server": ["--host", options.host, "--port", port, "--workers", "1"],
            "scheduler": ["--skip-serve-logs"],
            "dag-processor": [],
        }.items()
    }
    deadline = time.monotonic() + PATIENCE
    while not healthy(options.port):
        watch(running, options.home)
        if time.monotonic() > deadline:
            raise Died(f"Airflow is not healthy after {PATIENCE:.0f} s; see {options.home}/*.log")
        time.sleep(0.5)
    print(f"Airflow: http://127.0.0.1:{port}  user {USER}  password {shown(options.home)}")
    print(f"API: {env['USERS_API']}  logs: {options.home}/*.log  Ctrl-C ends it", flush=True)
    while True:
        watch(running, options.home)
        time.sleep(0.5)


def settings(home: Path, port: int) -> dict[str, str]:
    """Airflow's settings, and what the DAGs need; what the environment says goes first."""
    site = f"http://127.0.0.1:{port}"
    beside = Path(sys.executable).with_name("penstock")
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PENSTOCK_BIN": str(beside) if beside.exists() else "penstock",
        **os.environ,
        "PENSTOCK_PROJECT": str(Path(os.environ.get("PENSTOCK_PROJECT", USERS)).absolute()),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords(home)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{site}/execution/",
        "AIRFLOW__API__BASE_URL": site,
    }


def passwords(home: Path) -> Path:
    """The file with the user's password: `AIRFLOW_PASSWORD`, or made at the first start."""
    file = home / "passwords.json"
    if given := os.environ.get(PASSWORD):
        file.write_text(json.dumps({USER: given}))
    elif not file.exists():
        file.write_text(json.dumps({USER: secrets.token_urlsafe(12)}))
    return file


def shown(home: Path) -> str:
    """The password that was made; one that was given is known."""
    if os.environ.get(PASSWORD):
        return f"as {PASSWORD} says"
    return str(json.loads(passwords(home).read_text())[USER])


def imitation(home: Path) -> str:
    """Start the imitation of the users' API; gives its address, for ten people at a time."""
    process = subprocess.Popen(
        [sys.executable, str(USERS / "api.py")], cwd=home, stdout=subprocess.PIPE, text=True
    )
    if not process.stdout or not (url := process.stdout.readline().strip()):
        raise Died("the imitation of the API did not start")
    return f"{url}?results=10"


def finished(name: str, words: Sequence[str], home: Path, env: Mapping[str, str]) -> None:
    """Run a command to its end."""
    if started(name, words, home, env).wait():
        raise Died(told(name, home))


def started(
    name: str, words: Sequence[str], home: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command; what it says goes to its log."""
    with (home / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            words, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def watch(running: Mapping[str, subprocess.Popen[bytes]], home: Path) -> None:
    """Look whether all of them run."""
    for name, process in running.items():
        if process.poll() is not None:
            raise Died(told(name, home))


def told(name: str, home: Path) -> str:
    """That a process died, and the end of its log."""
    file = home / f"{name}.log"
    end = file.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([*end, f"{name} ended by itself; all of its log: {file}"])


def healthy(port: int) -> bool:
    """Whether all three are at work."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=5) as answer:
            parts = json.load(answer)
    except (URLError, OSError, ValueError):
        return False
    wanted = ("metadatabase", "scheduler", "dag_processor")
    return all(parts[name]["status"] == "healthy" for name in wanted)


def adopt_orphans() -> None:
    """Become the parent of what the processes leave behind, so that it can be ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all() -> None:
    """End every process below this one: asked first, killed after a while."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while left := below():
        late = time.monotonic() > deadline
        for process in left:
            with suppress(psutil.NoSuchProcess):
                if late:
                    process.kill()
                elif process.pid not in asked:
                    process.terminate()
            asked.add(process.pid)
        psutil.wait_procs(left, timeout=0.5)


def below() -> list[psutil.Process]:
    """The processes below this one that live."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if process.is_running() and not _reaped(process)]


def _reaped(process: psutil.Process) -> bool:
    """Whether it is gone, or was dead and is gone now."""
    with suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            return True
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def _ask(_number: int, _frame: FrameType | None) -> None:
    raise Asked


if __name__ == "__main__":
    sys.exit(main())
