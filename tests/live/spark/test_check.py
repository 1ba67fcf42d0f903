from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.live.project import Project

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.timeout(300)]

PROGRAM = """
import penstock as ps
import beside

class Item(ps.Contract):
    id: int = ps.key()

pipeline = ps.Pipeline("shop")
pipeline.topic("items", Item).sink("items", store="one")
"""


class Checked(Project):
    """A folder whose profile is a Spark engine's."""

    engine = "local-cluster[1,2,700]"
    spark = ""

    def settle(self) -> None:
        super().settle()
        file = self.path / "penstock.toml"
        head, stores = file.read_text().split("[profiles.test.stores]")
        more = [
            f"engine = {json.dumps(self.engine)}",
            "[profiles.test.stores]",
            stores,
            "[profiles.test.spark]",
            'driver_memory = "512m"\nexecutor_memory = "700m"',
            self.spark,
        ]
        file.write_text(head + "\n".join(more))

    def findings(self, code: int = 0) -> dict[str, tuple[str, str]]:
        found: list[dict[str, Any]] = self.json("check", "program.py", code=code)["findings"]
        return {one["system"]: (one["state"], one["message"]) for one in found}


@pytest.fixture
def project(tmp_path: Path, database: str, kafka: str, topic_name: str) -> Checked:
    project = Checked(tmp_path, database, log=kafka, prefix=f"{topic_name}_", patience=280)
    project.write(PROGRAM)
    (tmp_path / "beside.py").touch()
    project.produce("items", [b'{"id": 1}'])
    return project


def test_executors_are_asked_what_they_have_and_reach(project: Checked) -> None:
    found = project.findings()
    assert found["Java"][0] == found["Spark's jars"][0] == "good"
    state, words = found["engine"]
    assert state == "good"
    assert words.endswith("at local-cluster[1,2,700] runs 2 tasks at once")
    state, words = found["executors"]
    assert state == "good"
    assert words.endswith(": load the program and reach Kafka, one")
    assert not project.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'one'")


def test_what_executors_lack_is_said(project: Checked) -> None:
    # What the driver finds in the environment, executors have too; only theirs is spoilt here.
    project.spark = '[profiles.test.spark.conf]\n"spark.executorEnv.PENSTOCK_TRIAL" = "1"'
    project.engine = "local[1]"
    project.settle()
    broken = "import os\nif 'PENSTOCK_TRIAL' in os.environ:\n    import not_there\n"
    (project.path / "beside.py").write_text(broken)
    found = project.findings(code=1)
    [(system, (_, words))] = [
        (system, finding) for system, finding in found.items() if finding[0] == "refused"
    ]
    assert system.startswith("program from ")
    assert "lacks the module 'not_there', which the program imports; install it there" in words


@pytest.mark.parametrize(
    ("changes", "system", "state", "words"),
    [
        ({"log": ""}, "profile", "refused", "reads topics from Kafka, but log is 'postgresql'"),
        ({"spark": 'java = "/nowhere"'}, "Java", "refused", "/nowhere/bin/java) does not run"),
        ({"engine": "spark://127.0.0.1:{}"}, "engine", "away", "does not answer"),
    ],
)
def test_what_cannot_work_is_said_before_spark_starts(
    project: Checked, changes: dict[str, str], system: str, state: str, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for name, value in changes.items():
        setattr(project, name, value.format(port))
    project.settle()
    found = project.findings(code=3 if state == "away" else 1)
    assert found[system][0] == state
    assert words in found[system][1]
