"""A user's folder with a program, and the command in it, on a database of the tests' server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Ran = subprocess.CompletedProcess[bytes]


@dataclass
class Project:
    """Home, log and the stores `one` and `two` are schemas of the database `url`."""

    path: Path
    url: str
    stores: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stores = {name: f"{self.url}&schema={name}" for name in ("one", "two")} | self.stores
        self.settle()

    def settle(self) -> None:
        """Write the profile."""
        lines = ["[profiles.test]", f"home = {self.url!r}", f"log = {self.url!r}"]
        stores = [f"{json.dumps(name)} = {url!r}" for name, url in self.stores.items()]
        text = "\n".join([*lines, "[profiles.test.stores]", *stores, ""])
        (self.path / "penstock.toml").write_text(text)

    def write(self, program: str, name: str = "program.py") -> None:
        (self.path / name).write_text(program)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        given = {"PENSTOCK_PROFILE": "test", **self.environment}
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", *words],
            cwd=self.path,
            env={**os.environ, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def penstock(self, *words: str, code: int = 0) -> Ran:
        """Give a command; whatever it answers, it is no traceback."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=100)
        finally:
            process.kill()
        said = (out + err).decode()
        assert process.returncode == code, said
        assert "Traceback" not in said, said
        return subprocess.CompletedProcess(words, code, out, err)

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.penstock(*words, "--json", code=code).stdout)

    def run(self, *words: str, code: int = 0, program: str = "program.py") -> str:
        """Run the program until it is idle; returns what was said."""
        ran = self.penstock("run", program, "--until-idle", *words, code=code)
        return (ran.stdout + ran.stderr).decode()

    def balance(self, program: str = "program.py") -> None:
        found = self.json("reconcile", program, "--deep")
        assert found["balanced"]

    def counts(self, lane: str) -> dict[str, int]:
        """What became of the records of a lane, replays included."""
        [pipeline] = self.json("status")["pipelines"]
        [found] = [
            given["counts"]
            for segment in pipeline["segments"]
            for given in segment["lanes"]
            if given["lane"] == lane
        ]
        return dict(found)

    def letters(self) -> list[dict[str, Any]]:
        return list(self.json("deadletters", "show", "--all")["letters"])

    def rows(self, query: str, given: Sequence[object] = (), url: str = "") -> list[Any]:
        with psycopg.connect(url or self.url, autocommit=True) as session:
            cursor = session.execute(sql.SQL(query), given or None)
            return cursor.fetchall() if cursor.description else []
