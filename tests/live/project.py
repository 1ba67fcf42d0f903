"""A user's folder with a program, and the command in it, on databases of the tests' servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import polars as pl
import psycopg
from psycopg import sql
from tests.stack import clients

from penstock.logs.postgresql import open_topic

Ran = subprocess.CompletedProcess[bytes]

_STARTED: list[subprocess.Popen[bytes]] = []


def killed(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Kill a process, if it still lives, and leave nothing of it open; returns what it said."""
    process.kill()
    try:
        out, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired as late:  # a child of its that lives on has the pipes, too
        out, err = late.output or b"", late.stderr or b""
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()
    return out or b"", err or b""


def end_all() -> None:
    """End what a test that failed has left running, so that it fails alone."""
    while _STARTED:
        killed(_STARTED.pop())


@dataclass
class Project:
    """Home, log and the stores `one` and `two` are schemas of the database `url`, if not told.

    Args:
        path: The folder.
        url: Of a database of PostgreSQL.
        stores: URLs of stores by name.
        environment: Variables for every command.
        log: URL of a Kafka instead.
        registry: URL of a schema registry; the topics then hold Avro.
        prefix: What the pipeline's and the topics' names begin with.
        patience: Seconds for a command.
        more: What else the profile file holds.
    """

    path: Path
    url: str
    stores: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    log: str = ""
    registry: str = ""
    prefix: str = ""
    patience: float = 100
    more: str = ""

    def __post_init__(self) -> None:
        self.stores = {name: f"{self.url}&schema={name}" for name in ("one", "two")} | self.stores
        self.settle()

    def settle(self) -> None:
        """Write the profile."""
        lines = ["[profiles.test]", f"home = {self.url!r}", f"log = {(self.log or self.url)!r}"]
        if self.registry:
            lines.append(f"registry = {self.registry!r}")
        stores = [f"{json.dumps(name)} = {url!r}" for name, url in self.stores.items()]
        text = "\n".join([*lines, "[profiles.test.stores]", *stores, self.more])
        (self.path / "penstock.toml").write_text(text)

    def write(self, program: str, name: str = "program.py") -> None:
        for call in ('Pipeline("', '.topic("'):
            program = program.replace(call, call + self.prefix)
        (self.path / name).write_text(program)

    def produce(self, topic: str, values: Sequence[bytes]) -> None:
        """Make a topic of one partition, as somebody else would, and write records to it."""
        if self.log:
            clients.produce(self.log, self.prefix + topic, values)
            return
        with closing(open_topic(self.url, topic, 1)) as log:
            log.append(pl.DataFrame({"value": values}, schema={"value": pl.Binary}))

    def start(self, *words: str, said: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        given = {"PENSTOCK_PROFILE": "test", **self.environment}
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock", *words],
            cwd=self.path,
            env={**os.environ, **given},
            stdout=said or subprocess.PIPE,
            stderr=said or subprocess.PIPE,
        )
        _STARTED.append(process)
        return process

    def penstock(self, *words: str, code: int | None = 0) -> Ran:
        """Give a command; whatever it answers, it is no traceback. A code of None is any."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired as late:
            out, err = killed(process)
            raise AssertionError(f"{late}; it said:\n{(out + err).decode()}") from None
        _STARTED.remove(process)
        said = (out + err).decode()
        assert code in (process.returncode, None), said
        assert b"Traceback" not in err, said
        return subprocess.CompletedProcess(words, process.returncode, out, err)

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
        return list(self.json("deadletters", "show", "--limit", "1000")["letters"])

    def table(self, store: str, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Read a table with a client that is not Penstock's."""
        url = self.stores[store]
        if url.startswith("cassandra:"):
            keyspace = urlsplit(url).path.removeprefix("/")
            with clients.cql(url) as session:
                return list(
                    map(tuple, session.execute(f"SELECT {columns} FROM {keyspace}.{table}"))
                )
        return self.rows(f"SELECT {columns} FROM {store}.{table}")

    def rows(self, query: str, given: Sequence[object] = (), url: str = "") -> list[Any]:
        with psycopg.connect(url or self.url, autocommit=True) as session:
            cursor = session.execute(sql.SQL(query), given or None)
            return cursor.fetchall() if cursor.description else []
