"""The compose file as Compose itself reads it, with made-up secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[3] / "deploy"
FILE = DEPLOY / "compose.yaml"
COMPOSE = Path(sys.executable).with_name("docker-compose")
SECRETS = ("POSTGRES_PASSWORD", "SPARK_SECRET", "AIRFLOW_PASSWORD")


def config(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `docker-compose config`; nothing of this environment but the path is passed on."""
    return subprocess.run(
        [COMPOSE, "-f", FILE, "--env-file", "/dev/null", "config", *words],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


@cache
def whole() -> dict[str, Any]:
    """Everything filled in and merged."""
    done = config("--format", "json", **{name: f"the {name}" for name in SECRETS})
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    return dict(whole()["services"])
