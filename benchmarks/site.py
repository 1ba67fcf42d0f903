"""A folder of its own with an embedded PostgreSQL that is up, for one benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Run, run

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Site:
    """A folder in which `penstock` commands run, and its database."""

    folder: Path
    url: str

    def penstock(self, *arguments: str, **environment: str) -> tuple[Run, dict[str, Any]]:
        """Run a command with `--json`; return what it took and what it said."""
        command = [sys.executable, "-m", "penstock", *arguments, "--json"]
        took = run(command, self.folder, {**os.environ, **environment})
        return took, json.loads(took.printed)

    def pipeline(
        self, program: str, *options: str, **environment: str
    ) -> tuple[Run, dict[str, Any]]:
        """Run a program of `benchmarks/programs`; it must balance."""
        path = str(PROGRAMS / f"{program}.py")
        took, said = self.penstock("run", path, *options, **environment)
        if not said["balanced"]:
            raise AssertionError(f"{program} does not balance: {said}")
        return took, said

    def ingest(self, program: str, *options: str, **environment: str) -> None:
        """Fill the landings of a program of `benchmarks/programs`."""
        self.penstock("ingest", str(PROGRAMS / f"{program}.py"), *options, **environment)


@contextmanager
def site() -> Iterator[Site]:
    """Make a folder, start its PostgreSQL, and take both away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    command = [sys.executable, "-m", "penstock", "services"]
    try:
        said = subprocess.run(
            [*command, "up", "embedded", "--json"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        (service,) = json.loads(said.stdout)["services"]
        yield Site(folder, service["url"])
    finally:
        subprocess.run([*command, "down", "embedded"], cwd=folder, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
