"""The whole way with the public commands: API, landing, topic, tables, proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from api import Api, Trouble

HERE = Path(__file__).parent.parent


def penstock(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "penstock", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_troubled_api_ends_balanced(api: Api, tmp_path: Path, monkeypatch: Any) -> None:
    program = str(HERE / "users.py")
    monkeypatch.setenv("USERS_API", f"{api.url}?results=150")
    monkeypatch.delenv("PENSTOCK_PROFILE", raising=False)
    assert "USERS_EVERY" not in os.environ
    api.trouble = Trouble(fail=2, cut=3, bad=30)
    for _ in range(2):
        penstock(tmp_path, "run", program, "--until-idle")
    report = penstock(tmp_path, "reconcile", program, "--deep")
    assert report["balanced"] is True
    letters = penstock(tmp_path, "deadletters", "list")
    assert "not-a-uuid" in json.dumps(letters)
