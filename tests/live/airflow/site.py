"""Airflow at work: its REST interface, its command, and the tables that its DAGs fill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg

ROOT = Path(__file__).parents[3]
SERVE = ROOT / "deploy" / "airflow" / "serve.py"
PATIENCE = 400
Found = TypeVar("Found")
TABLES = ("landing.raw_users", "warehouse.created_users", "serving.created_users")


@dataclass
class Site:
    """One Airflow.

    Args:
        airflow: The command.
        folder: Of the users' program and its profile.
        home: Airflow's own data.
        port: Where it serves.
        database: Of all stores.
        api: The imitation of the users' API.
        env: For every process.
    """

    airflow: Path
    folder: Path
    home: Path
    port: int
    database: str
    api: Any
    env: Mapping[str, str]
    headers: dict[str, str] = field(default_factory=dict)

    def log_in(self) -> None:
        password = json.loads((self.home / "passwords.json").read_text())["admin"]
        words = {"username": "admin", "password": password}
        token = self.ask("POST", "/auth/token", json=words)["access_token"]
        self.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """A request to Airflow's REST interface, which must succeed."""
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = httpx.request(method, url, headers=self.headers, timeout=60, **given)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def dag(self, dag_id: str, **changes: object) -> None:
        self.ask("PATCH", f"/api/v2/dags/{dag_id}", json=changes)

    def trigger(self, dag_id: str, run_id: str, **conf: object) -> None:
        words = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=words)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))

    def ended(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended."""
        return waited(lambda: self._ended(self.run(dag_id, run_id)), f"{dag_id} {run_id}")

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"])

    def log(self, dag_id: str, run_id: str, task: str, tries: int = 1) -> str:
        """A task's log as Airflow's page shows it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/logs/{tries}"
        return json.dumps(self.ask("GET", path)["content"])

    def counts(self) -> dict[str, int]:
        """The rows of each table; 0 where there is none yet."""
        found = {}
        with psycopg.connect(self.database, autocommit=True) as connection:
            for table in TABLES:
                there = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
                assert there
                query = f"SELECT count(*) FROM {table}"
                row = connection.execute(query).fetchone() if there[0] else (0,)
                assert row
                found[table] = int(row[0])
        return found

    def command(self, *words: str, code: int = 0, **env: str) -> str:
        """Run `airflow WORDS`, which must end with `code`; gives what it said."""
        done = subprocess.run(
            [self.airflow, *words],
            env={**self.env, **env},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @staticmethod
    def _ended(run: dict[str, Any]) -> dict[str, Any] | None:
        return run if run["state"] in ("success", "failed") else None


def waited(look: Callable[[], Found | None], what: str) -> Found:
    """Look again and again until there is something."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"not there after {PATIENCE} s: {what}"
        time.sleep(0.2)
    return found


@contextmanager
def served(site: Site) -> Iterator[None]:
    """Run what `make airflow` runs; it must end by itself when it is asked to."""
    words = [sys.executable, str(SERVE), "--airflow", str(site.airflow)]
    words += ["--port", str(site.port), "--home", str(site.home)]
    said = site.home.parent / "serve.log"
    with said.open("wb") as log:
        process = subprocess.Popen(words, cwd=site.folder, env=site.env, stdout=log, stderr=log)
    try:
        waited(lambda: _says(process, said), "Airflow")
        site.log_in()
        waited(lambda: site.ask("GET", "/api/v2/dags")["total_entries"] == 3 or None, "the DAGs")
        yield
    finally:
        process.terminate()
        code = process.wait(120)
    assert code == 0, said.read_text()


def _says(process: subprocess.Popen[bytes], said: Path) -> bool | None:
    assert process.poll() is None, said.read_text()
    return True if "Airflow: http" in said.read_text() else None
