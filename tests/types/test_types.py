"""User programs under mypy --strict and pyright: the right one passes, wrong lines are found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from penstock import plan
from penstock.pipeline import load

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "src"
CORRECT = HERE / "correct.py"
WRONG = HERE / "wrong.txt"  # not .py, so that our own checks pass it over
PYRIGHT = {
    "extraPaths": [str(SOURCE)],
    "typeCheckingMode": "strict",
    "reportUnknownMemberType": False,  # Polars' own
    "reportUnknownVariableType": False,
    "reportUnknownArgumentType": False,
    "reportUnknownLambdaType": False,
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with both programs."""
    shutil.copy(CORRECT, tmp_path / "correct.py")
    shutil.copy(WRONG, tmp_path / "wrong.py")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    return tmp_path


def expected() -> dict[str, set[int]]:
    lines = WRONG.read_text().splitlines()
    return {"wrong.py": {n for n, line in enumerate(lines, 1) if line.endswith("# error")}}


def mypy(folder: Path) -> dict[str, set[int]]:
    """Lines with errors, by file name."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "correct.py", "wrong.py"]
    command += ["--cache-dir", os.devnull, "--follow-imports=silent"]
    environment = {**os.environ, "MYPYPATH": str(SOURCE)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    lines: dict[str, set[int]] = {}
    for name, line in re.findall(r"^(\w+\.py):(\d+): error", done.stdout, re.MULTILINE):
        lines.setdefault(name, set()).add(int(line))
    return lines


def pyright(folder: Path) -> dict[str, set[int]]:
    """Lines with errors, by file name; skips where pyright's node cannot be had."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        if os.environ.get("CI") == "true":
            pytest.fail(f"pyright does not run: {reason}")
        pytest.skip(f"pyright does not run here: {reason}")
    lines: dict[str, set[int]] = {}
    for found in report["generalDiagnostics"]:
        if found["severity"] == "error":
            line = found["range"]["start"]["line"] + 1
            lines.setdefault(Path(found["file"]).name, set()).add(line)
    return lines


def test_mypy_accepts_the_right_program_and_finds_every_wrong_line(programs: Path) -> None:
    assert mypy(programs) == expected()


def test_pyright_accepts_the_right_program_and_finds_every_wrong_line(programs: Path) -> None:
    assert pyright(programs) == expected()


def test_the_right_program_compiles() -> None:
    segments = plan.compile(load(CORRECT))
    assert [segment.name for segment in segments] == [
        "raw_users",
        "users_created",
        "tags",
        "orders",
    ]
    assert [finding for segment in segments for finding in segment.plan.check()] == []
