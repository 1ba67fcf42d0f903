"""What Airflow adds to the commands that a run consists of: `python -m benchmarks.airflow`.

Airflow as `make airflow` starts it, on the embedded profile. Runs of `user_automation` are
triggered over REST, one after the other; each asks for ten people. Of each the time from the
request to the end of the run is taken, less the time that the commands took, by the task's answer.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.suite import conditions

ROOT = Path(__file__).parents[1]
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
PORT = 18080
DAG = "user_automation"
RUNS = 10


def main() -> None:
    """Measure and print."""
    print(conditions(), flush=True)
    with served() as home, httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client:
        log_in(client, home)
        awake = {"is_paused": False}
        while client.patch(f"/api/v2/dags/{DAG}", json=awake).status_code == httpx.codes.NOT_FOUND:
            time.sleep(0.5)  # the DAGs are not read yet
        ran(client, "warm")
        took = [ran(client, f"n{n}") for n in range(RUNS)]
    for name, values in zip(("whole", "commands", "added"), zip(*took, strict=True), strict=True):
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:<10} median {middle:5.2f} s, {low:5.2f} to {high:5.2f} s, {RUNS} runs")
    print(conditions())


@contextmanager
def served() -> Iterator[Path]:
    """Airflow at work; gives its home."""
    with tempfile.TemporaryDirectory(prefix="penstock-airflow-") as name:
        folder = Path(name)
        shutil.copy(ROOT / "examples" / "users" / "users.py", folder)
        words = [sys.executable, str(ROOT / "deploy" / "airflow" / "serve.py")]
        words += ["--airflow", str(AIRFLOW), "--port", str(PORT), "--home", str(folder / "home")]
        env = {**os.environ, "PENSTOCK_PROJECT": str(folder), "PENSTOCK_PROFILE": "embedded"}
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                print(process.stdout.readline().strip() if process.stdout else "")
                yield folder / "home"
            finally:
                process.terminate()


def log_in(client: httpx.Client, home: Path) -> None:
    password = json.loads((home / "passwords.json").read_text())["admin"]
    answer = client.post("/auth/token", json={"username": "admin", "password": password})
    client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"


def ran(client: httpx.Client, run_id: str) -> tuple[float, float, float]:
    """Seconds of a run: the whole, its commands, the difference."""
    began = time.time()
    path = f"/api/v2/dags/{DAG}/dagRuns"
    client.post(path, json={"dag_run_id": run_id, "logical_date": None}).raise_for_status()
    while (run := client.get(f"{path}/{run_id}").json())["state"] not in ("success", "failed"):
        time.sleep(0.1)
    if run["state"] == "failed":
        raise SystemExit(f"the run {run_id} failed")
    whole = datetime.fromisoformat(run["end_date"]).timestamp() - began
    commands = seconds(client, run_id)
    return whole, commands, whole - commands


def seconds(client: httpx.Client, run_id: str) -> float:
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances/stream_data_from_api"
    done: Any = client.get(f"{path}/xcomEntries/return_value").raise_for_status().json()["value"]
    if isinstance(done, str):
        done = json.loads(done)
    return float(done["stream_data"]["seconds"] + done["format_data"]["seconds"])


if __name__ == "__main__":
    main()
