"""The commands as a user gives them: processes, exit codes, what stands on stdout and stderr."""

import base64
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

PROGRAM = """
import polars as pl
import penstock as ps

class Order(ps.Contract):
    id: str = ps.key()
    total: int

pipeline = ps.Pipeline("shop")
orders = pipeline.source(ps.Files("orders.ndjson"), Order, land="raw_orders").topic("orders")
orders.sink("orders", store="warehouse")
orders.filter(pl.col("total") > 10).sink("large", store="warehouse")
"""
ENDLESS = """
import penstock as ps

class Beat(ps.Contract):
    id: str = ps.key()

pipeline = ps.Pipeline("beats")
beats = pipeline.source(ps.Generator(Beat, rate=200), Beat, land="raw_beats").topic("beats")
beats.sink("beats", store="warehouse")
"""
GOOD = b'{"id": "a", "total": 1}\n{"id": "b", "total": 20}\n{"id": "a", "total": 30}\n'
BAD = b'{"id": "c", "total": "\x1b[2J"}\n\xff\xfe\n'


PROFILE = """
[profiles.test]
home = "{url}"
log = "{url}"
[profiles.test.stores]
warehouse = "{url}"
"""


class Folder:
    """A folder with programs, a profile, and the command in it."""

    def __init__(self, path: Path, database: str) -> None:
        self.path = path
        self.database = database
        self.environment = {**os.environ, "PENSTOCK_PROFILE": "test"}
        (path / "penstock.toml").write_text(PROFILE.format(url=database))
        (path / "shop.py").write_text(PROGRAM)
        (path / "beats.py").write_text(ENDLESS)
        (path / "orders.ndjson").write_bytes(GOOD + BAD)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "penstock", *words]

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.command(*words),
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def sql(self, statement: LiteralString) -> None:
        with psycopg.connect(self.database, autocommit=True) as session:
            session.execute(statement)


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Folder:
    return Folder(tmp_path, database)


def test_from_a_run_to_an_empty_list_of_dead_letters(folder: Folder) -> None:
    ran = folder.json("run", "shop.py", "--until-idle")
    counts = {lane["lane"]: lane["counts"] for lane in ran["lanes"]}
    assert ran["balanced"]
    assert counts["orders@log"]["dead"] == 2
    assert counts["orders@warehouse"]["written"] + counts["orders@warehouse"]["superseded"] == 3
    assert counts["large@warehouse"]["filtered"] == 1

    [pipeline] = folder.json("status")["pipelines"]
    assert pipeline["segments"][0]["letters"] == {"dead": 2}
    assert folder.json("reconcile", "shop.py", "--deep")["balanced"]

    causes = folder.json("deadletters", "list")["causes"]
    assert sorted(cause["states"]["dead"] for cause in causes) == [1, 1]
    letters = folder.json("deadletters", "show")["letters"]
    records = sorted(base64.b64decode(letter["record_base64"]) for letter in letters)
    assert records == sorted(BAD.splitlines())

    [preview] = folder.json("deadletters", "preview", "shop.py")["segments"]
    assert len(preview["failing"]) == 2
    assert folder.json("deadletters", "replay")["replayed"] == 2
    assert folder.json("deadletters", "replay")["replayed"] == 0
    folder.run("run", "shop.py", "--until-idle")
    discarded = folder.json("deadletters", "discard", "--all", "--reason", "a test")
    assert discarded["discarded"] == 2
    assert folder.json("deadletters", "show")["letters"] == []
    assert folder.json("reconcile", "shop.py", "--deep")["balanced"]


def test_dead_bytes_never_reach_the_terminal_raw(folder: Folder) -> None:
    folder.run("run", "shop.py", "--until-idle")
    shown = folder.run("deadletters", "show").stdout
    assert b"\x1b" not in shown
    assert rb"\x1b[2J" in shown
    broken = [
        letter["letter"]
        for letter in folder.json("deadletters", "show")["letters"]
        if base64.b64decode(letter["record_base64"]) == b"\xff\xfe"
    ]
    assert folder.run("deadletters", "show", str(broken[0]), "--raw").stdout == b"\xff\xfe"


def test_a_row_that_somebody_removed_is_named(folder: Folder) -> None:
    folder.run("run", "shop.py", "--until-idle")
    folder.sql("DELETE FROM orders WHERE id = 'b'")
    found = folder.json("reconcile", "shop.py", "--deep", code=1)
    assert not found["balanced"]
    assert "lacks the row of position (0, 1, 0)" in found["differences"][0]
    assert "NOT balanced" in folder.run("reconcile", "shop.py", "--deep", code=1).stdout.decode()


def test_check_writes_nothing_and_says_what_a_start_would_do(folder: Folder) -> None:
    found = folder.json("check", "shop.py")
    assert found["good"]
    assert any("create table 'orders'" in f["message"] for f in found["findings"])
    again = folder.json("check", "shop.py")
    assert again["findings"] == found["findings"]


def test_check_refuses_a_log_that_was_made_anew(folder: Folder) -> None:
    folder.run("run", "shop.py", "--until-idle")
    folder.sql("DROP TABLE topics.orders CASCADE")
    folder.run("run", "shop.py", "--until-idle", code=1)
    found = folder.json("check", "shop.py", code=1)
    [refused] = [f for f in found["findings"] if f["state"] == "refused"]
    assert refused["system"] == "topic orders"
    assert "--accept-log" in refused["message"]


def test_check_refuses_a_landing_of_another_pipeline(folder: Folder) -> None:
    folder.run("run", "shop.py", "--until-idle")
    (folder.path / "shop.py").write_text(PROGRAM.replace('"shop"', '"other"'))
    found = folder.json("check", "shop.py", code=1)
    refused = [f["message"] for f in found["findings"] if f["state"] == "refused"]
    assert refused[0] == "belongs to pipeline 'shop'; choose another name with land="
    assert all("of pipeline 'shop'" in words for words in refused[1:])


def test_an_incompatible_contract_is_refused(folder: Folder) -> None:
    folder.run("run", "shop.py", "--until-idle")
    changed = PROGRAM.replace("total: int", "total: float")
    (folder.path / "shop.py").write_text(changed)
    found = folder.json("check", "shop.py", code=1)
    assert any(f["state"] == "refused" and "total" in f["message"] for f in found["findings"])
    assert "total" in folder.run("run", "shop.py", "--until-idle", code=1).stderr.decode()


def test_a_system_that_is_away_is_3_and_no_secret_is_said(folder: Folder) -> None:
    profile = PROFILE.format(url="postgresql://ada:s3cret@127.0.0.1:1/x")
    (folder.path / "penstock.toml").write_text(profile)
    for words in (["check", "shop.py"], ["run", "shop.py"], ["status"], ["reconcile", "shop.py"]):
        done = folder.run(*words, code=3)
        assert b"s3cret" not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


def test_a_wrong_program_is_2_with_file_and_line(folder: Folder) -> None:
    (folder.path / "shop.py").write_text(PROGRAM.replace('"total"', '"totl"'))
    error = folder.json("run", "shop.py", code=2)["error"]
    assert error["file"].endswith("shop.py")
    assert PROGRAM.splitlines()[error["line"] - 1].startswith("orders.filter")


def test_sigterm_ends_a_run_in_order(folder: Folder) -> None:
    process = subprocess.Popen(
        folder.command("run", "beats.py", "--json"),
        cwd=folder.path,
        env=folder.environment,
        stdout=-1,
        stderr=-1,
    )
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line).get("lane") == "beats@warehouse":
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["balanced"]


def test_a_terminal_gets_a_live_table(folder: Folder) -> None:
    master, terminal = pty.openpty()
    environment = {**folder.environment, "TERM": "xterm", "COLUMNS": "140", "LINES": "40"}
    with subprocess.Popen(
        folder.command("run", "beats.py", "--for", "3s"),
        cwd=folder.path, stdout=terminal, stderr=terminal, env=environment,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = _read_until_closed(master)
        assert process.wait(timeout=60) == 0
    assert shown.count("records/s") > 2
    assert "beats@warehouse" in shown
    assert "balanced: every record is accounted for" in shown


def _read_until_closed(terminal: int) -> str:
    parts = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux: the other side has closed
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()
