"""The DAGs of deploy/airflow in Airflow's own environment, and by `airflow dags test`."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from tests.live.airflow.site import Site

LOADED = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
described = {
    dag.dag_id: {
        "schedule": dag.schedule if isinstance(dag.schedule, str) else "assets",
        "catchup": dag.catchup,
        "runs": dag.max_active_runs,
        "tasks": {
            task.task_id: [task.owner, [step.__name__ for step in task.steps],
                           [asset.name for asset in task.outlets]]
            for task in dag.tasks
        },
    }
    for dag in bag.dags.values()
}
print("DAGS " + json.dumps([bag.import_errors, described]))
"""
ONE = ["penstock", ["stream_data", "format_data"], ["created_users"]]


def loaded(site: Site, **env: str) -> Any:
    dags = site.env["AIRFLOW__CORE__DAGS_FOLDER"]
    done = subprocess.run(
        [site.airflow.with_name("python"), "-c", LOADED, dags],
        env={**site.env, **env},
        cwd=site.home,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("DAGS ")]
    return json.loads(line.removeprefix("DAGS "))


@pytest.mark.timeout(600)
def test_they_load_as_they_should_be(site: Site) -> None:
    errors, dags = loaded(site, AIRFLOW_VAR_KAFKA_STREAM_SCHEDULE="*/7 * * * *")
    assert errors == {}
    assert dags == {
        "user_automation": {
            "schedule": "@daily",
            "catchup": False,
            "runs": 1,
            "tasks": {"stream_data_from_api": ONE},
        },
        "kafka_stream_dag": {
            "schedule": "*/7 * * * *",
            "catchup": False,
            "runs": 1,
            "tasks": {"stream_data_from_api": ONE},
        },
        "created_users_proof": {
            "schedule": "assets",
            "catchup": False,
            "runs": 1,
            "tasks": {"reconcile": ["penstock", ["prove"], []]},
        },
    }
    assert site.ask("GET", "/api/v2/importErrors")["import_errors"] == []
    every_minute = site.ask("GET", "/api/v2/dags/kafka_stream_dag")
    assert every_minute["timetable_summary"] == "* * * * *"


@pytest.mark.timeout(600)
def test_dags_test_leaves_rows(site: Site) -> None:
    before = site.counts()
    said = site.command("dags", "test", "kafka_stream_dag")
    after = site.counts()
    assert after["landing.raw_users"] == before["landing.raw_users"] + 1, said
    for table in ("warehouse.created_users", "serving.created_users"):
        assert after[table] == before[table] + 20


@pytest.mark.timeout(600)
def test_a_broken_program_fails_at_once_and_tells_no_secret(site: Site) -> None:
    secret = "s3cr3t-of-the-program"
    program = site.folder / "broken.py"
    program.write_text('import os\nraise ValueError("cannot use " + os.environ["ITS_PASSWORD"])\n')
    env = {"PENSTOCK_PROGRAM": "broken.py", "ITS_PASSWORD": secret}
    said = site.command("dags", "test", "user_automation", code=1, **env)
    assert secret not in said
    assert f"AirflowFailException: penstock ingest: {program}:2: " in said
    assert "ValueError: cannot use ***" in said
