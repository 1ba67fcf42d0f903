"""What the DAGs call, without Airflow: the command, its reasons, its end."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.live.airflow.conftest import PROFILE, USERS
from tests.live.airflow.site import ROOT, waited

FILE = ROOT / "deploy" / "airflow" / "dags" / "penstock_command.py"
SPEC = importlib.util.spec_from_file_location("penstock_command", FILE)
assert SPEC
assert SPEC.loader
commands = importlib.util.module_from_spec(SPEC)
sys.modules["penstock_command"] = commands
SPEC.loader.exec_module(commands)


@pytest.fixture
def env(users_api: Any, database: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    shutil.copy(USERS / "users.py", tmp_path)
    (tmp_path / "penstock.toml").write_text(PROFILE)
    yield {
        "PENSTOCK_BIN": f"{sys.executable} -m penstock",
        "PENSTOCK_PROJECT": str(tmp_path),
        "PENSTOCK_PROFILE": "airflow",
        "USERS_API": f"{users_api.url}?results=20",
        "DATABASE": database,
    }
    users_api.trouble = type(users_api.trouble)()


def penstock(env: dict[str, str], patience: float = 100) -> tuple[Any, list[str]]:
    said: list[str] = []
    return commands.Penstock(env, said.append, patience), said


def test_an_answer_is_the_json(env: dict[str, str]) -> None:
    command, said = penstock(env)
    answer = command.call("ingest", "--run-id", "a")
    assert answer["sources"][0]["responses"] == 1
    assert "info: source of raw_users is finished" in said
    assert command.call("ingest", "--run-id", "a")["sources"][0]["responses"] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PENSTOCK_PROFILE": "nowhere"}, "has no profile 'nowhere'"),
        ({"PENSTOCK_PROGRAM": "nothing.py"}, "nothing.py"),
        ({"PENSTOCK_BIN": "/no/such/command"}, "look at PENSTOCK_BIN"),
    ],
)
def test_a_wrong_setting_is_final(
    env: dict[str, str], changes: dict[str, str], reason: str
) -> None:
    command, _ = penstock(env | changes)
    with pytest.raises(commands.PenstockFailed, match=reason) as failed:
        command.call("ingest", "--run-id", "a")
    assert failed.value.final


def test_stop_ends_the_command_and_begins_no_other(env: dict[str, str], users_api: Any) -> None:
    users_api.trouble = type(users_api.trouble)(fail=1)
    command, said = penstock(env)
    failures: list[Exception] = []

    def work() -> None:
        try:
            command.call("ingest", "--run-id", "a")
        except commands.PenstockFailed as failed:
            failures.append(failed)

    thread = Thread(target=work)
    thread.start()
    waited(lambda: any("is waiting" in line for line in said) or None, "the source waits")
    command.stop()
    thread.join(60)
    assert str(failures[0]).startswith("penstock ingest: stopped: source of raw_users is waiting")
    with pytest.raises(commands.PenstockFailed, match="stopped before it began"):
        command.call("run")


def test_a_command_that_is_not_done_in_time_says_for_what_it_waits(
    env: dict[str, str], users_api: Any
) -> None:
    users_api.trouble = type(users_api.trouble)(fail=1)
    command, _ = penstock(env, 3)
    with pytest.raises(commands.PenstockFailed) as failed:
        command.call("ingest", "--run-id", "a", *command.limit)
    assert str(failed.value).startswith("penstock ingest: time is up, and not all is done: http:")
    assert "answered 500" in str(failed.value)
    assert not failed.value.final


def test_a_command_that_hangs_is_killed(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "GRACE", 1.0)
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    command, _ = penstock(env | {"PENSTOCK_PROGRAM": "hangs.py"}, 1)
    with pytest.raises(commands.PenstockFailed, match="ingest: killed, or hung for 2 s"):
        command.call("ingest", "--run-id", "a", *command.limit)


def test_secrets_are_hidden_and_those_of_airflow_kept_from_the_command() -> None:
    env = {
        "POSTGRES_PASSWORD": "hunter2!",
        "DATABASE": "postgresql://me:p%40ssw0rd@db/x",
        "AIRFLOW__API_AUTH__JWT_SECRET": "of-airflow",
        "PIN_TOKEN": "abc",
        "HOME": "/home/me",
    }
    assert commands.secrets(env) == {"hunter2!", "p%40ssw0rd", "p@ssw0rd", "of-airflow"}
    assert set(commands.theirs(env)) == {"POSTGRES_PASSWORD", "DATABASE", "PIN_TOKEN", "HOME"}


def test_records_that_a_run_elsewhere_moves_are_waited_for(env: dict[str, str]) -> None:
    command, _ = penstock(env)
    command.call("ingest", "--run-id", "a")
    nobody, _ = penstock(env, 10)
    with pytest.raises(commands.PenstockFailed, match="users_created@log by 1; is"):
        nobody.caught_up()
    words = [sys.executable, "-m", "penstock", "run", "users.py", "--no-sources"]
    run = subprocess.Popen(
        words, cwd=env["PENSTOCK_PROJECT"], env=env,
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        lanes = {lane["lane"]: lane for lane in command.caught_up()["lanes"]}
        assert lanes["created_users@serving"]["counts"]["written"] == 20
    finally:
        run.terminate()
        assert run.wait(60) == 0
