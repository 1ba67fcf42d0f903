"""Airflow in its own environment, for the tests of its DAGs."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.conftest import Server
from tests.live.airflow.site import ROOT, Site, served
from tests.stack.servers import free_ports, without
from tests.stack.watchdog import servers_of, watched

USERS = ROOT / "examples" / "users"
PROFILE = """
[profiles.airflow]
home = "${DATABASE}"
log  = "${DATABASE}"
[profiles.airflow.stores]
warehouse = "${DATABASE}&schema=warehouse"
serving   = "${DATABASE}&schema=serving"
"""


@pytest.fixture(scope="session")
def airflow() -> Path:
    """The command, in the environment that `make .venv-airflow/.done` makes."""
    command = Path(os.environ.get("PENSTOCK_TEST_AIRFLOW", ROOT / ".venv-airflow/bin/airflow"))
    if not command.exists():
        without(f"this needs Airflow: no {command}; `make .venv-airflow/.done` installs it")
    return command


@pytest.fixture(scope="session")
def users_api() -> Iterator[Any]:
    """The imitation of the users' API; a test sets its `trouble`."""
    sys.path.insert(0, str(USERS))
    api = importlib.import_module("api")
    with api.Api() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def site(
    airflow: Path, users_api: Any, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Airflow's three processes at work on the users' program; nothing of it stays."""
    folder = tmp_path_factory.mktemp("airflow").resolve()
    shutil.copy(USERS / "users.py", folder)
    (folder / "penstock.toml").write_text(PROFILE)
    (port,) = free_ports(1)
    name = postgres.create()
    env = environment(folder, f"{users_api.url}?results=20", postgres.url(name))
    found = Site(airflow, folder, folder / "home", port, postgres.url(name), users_api, env)
    with watched(folder):
        with served(found):
            yield found
        left = [process.cmdline() for process in servers_of(folder)]
    postgres.drop(name)
    assert left == []


def environment(folder: Path, api: str, database: str) -> dict[str, str]:
    """What Airflow's processes get, those of `airflow WORDS` too."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "deploy" / "airflow" / "dags"),
        "PENSTOCK_BIN": f"{sys.executable} -m penstock",
        "PENSTOCK_PROJECT": str(folder),
        "PENSTOCK_PROFILE": "airflow",
        "PENSTOCK_RETRIES": "0",
        "USERS_API": api,
        "DATABASE": database,
    }
