"""The marker on Spark: executors mask, and nothing that Spark writes down holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.live.masking import marks
from tests.live.masking.marks import MARKER, SECRET
from tests.live.masking.test_marker import DELETING, LINES, PROGRAM, hashed
from tests.live.spark.test_check import Checked

pytestmark = [pytest.mark.usefixtures("spark"), pytest.mark.timeout(600)]


@pytest.fixture
def project(tmp_path: Path, database: str, kafka: str, topic_name: str) -> Checked:
    project = Checked(tmp_path, database, log=kafka, prefix=f"{topic_name}_", patience=280)
    events = tmp_path / "events"
    events.mkdir()
    conf = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": events.as_uri()}
    told = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in conf.items())
    project.spark = f"conf = {{ {told} }}"
    project.settle()
    project.environment["MASK_KEY"] = SECRET
    project.write(PROGRAM.split("pipeline = ")[0] + DELETING)
    project.produce("outside", LINES)
    return project


def test_nothing_that_spark_writes_down_holds_the_marker(project: Checked) -> None:
    marks.said(project, "run", "program.py", "--until-idle", both=False)
    assert project.table("one", "people", "email") == [(hashed(f"{MARKER}30@example.com"),)]
    assert len(project.letters()) == len(LINES) - 1
    assert marks.assert_clean_database(project.url, ()) > 20
    assert list((project.path / "events").iterdir())
    assert marks.assert_clean_folder(project.path, ()) >= 3
    for words in (("status",), ("deadletters", "show"), ("reconcile", "program.py", "--deep")):
        marks.said(project, *words, both=False)
