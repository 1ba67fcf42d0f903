"""Every template as a new user meets it: generated, tested, run, checked, proven."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

TEMPLATES = {
    "api-to-table": {"orders@log": 4, "orders@warehouse": 4, "large_orders@warehouse": 4},
    "files-to-lake": {"events@lake": 4},
    "topic-to-table": {"payments@warehouse": 1000, "euro_payments@warehouse": 1000},
}
"""For each template the records of its lanes."""


class Started:
    """A project in a folder of its own, in an environment that knows nothing of these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PENSTOCK", "PYTEST"))}
        self.environment = kept | {"PYTHONDONTWRITEBYTECODE": "1", "PWD": str(folder)}

    def python(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.python("penstock", *words, "--json"))


@pytest.fixture(params=TEMPLATES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Started]:
    above = Started(tmp_path)
    above.json("init", "new project", "--template", request.param)
    project = Started(tmp_path / "new project")
    yield project
    project.python("penstock", "services", "down", "embedded")


@pytest.mark.timeout(300)
def test_a_new_project_runs_at_once(project: Started, request: pytest.FixtureRequest) -> None:
    project.python("pytest", "-q", "-p", "no:cacheprovider")
    if (project.folder / "writer.py").exists():
        project.json("run", "writer.py", "--until-idle")
    template = request.node.callspec.params["project"]
    profile = ["--profile", "lake"] if template == "files-to-lake" else []
    ran = project.json("run", "pipeline.py", "--until-idle", *profile)
    assert ran["balanced"]
    told = {lane["lane"]: lane["counts"] for lane in ran["lanes"]}
    taken = {name: counts["records"] + counts["expanded"] for name, counts in told.items()}
    assert taken == TEMPLATES[template]
    assert all(counts["dead"] == 0 for counts in told.values())
    assert project.json("check", "pipeline.py", *profile)["good"]
    assert project.json("reconcile", "pipeline.py", *profile, "--deep")["balanced"]
    if template == "files-to-lake":
        rows = pl.read_parquet(project.folder / "lake/events/**/*.parquet", hive_partitioning=True)
        assert sorted(rows["id"]) == ["e1", "e2", "e3", "e4"]
        assert project.json("check", "pipeline.py")["good"]
