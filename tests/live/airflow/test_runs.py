"""Runs that are triggered over REST, with scheduler, dag-processor and api-server at work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from tests.live.airflow.site import Site, waited
from tests.stack.watchdog import servers_of

DAG, TASK = "user_automation", "stream_data_from_api"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def awake(site: Site) -> None:
    """Both DAGs unpaused; the run of today, which that brings, has ended."""
    site.dag(DAG, is_paused=False)
    site.dag("created_users_proof", is_paused=False)
    site.ended(DAG, waited(lambda: todays(site), "the run of today"))


def todays(site: Site) -> str | None:
    scheduled = [run for run in site.runs(DAG) if run["run_type"] == "scheduled"]
    return scheduled[0]["dag_run_id"] if scheduled else None


@pytest.fixture
def trouble(site: Site) -> Iterator[Any]:
    """Sets what goes wrong with the API, for this test."""

    def make(**kinds: float) -> None:
        site.api.trouble = type(site.api.trouble)(**kinds)

    yield make
    make()


def event_of(site: Site, run_id: str) -> dict[str, Any] | None:
    """The asset's event of a run. Airflow 3.3.2 answers 500 until runs that it began have begun."""
    url = f"http://127.0.0.1:{site.port}/api/v2/assets/events?source_dag_id={DAG}&limit=200"
    answer = httpx.get(url, headers=site.headers, timeout=60)
    if not answer.is_success:
        return None
    found = [event for event in answer.json()["asset_events"] if event["source_run_id"] == run_id]
    return dict(found[0]) if found else None


def test_a_run_ends_in_rows_an_event_and_a_run_of_the_consumer(site: Site) -> None:
    before = site.counts()
    site.trigger(DAG, "first")
    assert site.ended(DAG, "first")["state"] == "success"
    after = site.counts()
    assert {table: after[table] - before[table] for table in after} == {
        "landing.raw_users": 1,
        "warehouse.created_users": 20,
        "serving.created_users": 20,
    }
    event = waited(lambda: event_of(site, "first"), "an event of the asset")
    assert event["extra"]["run_id"] == f"{DAG}/first"
    assert event["extra"]["stream_data"]["landed"] == {"raw_users": 1}
    assert event["extra"]["format_data"]["lanes"]["created_users@serving"]["written"] == 20
    proof = waited(lambda: proof_of(site, event["id"]), "a run of created_users_proof")
    assert site.ended("created_users_proof", proof)["state"] == "success"


def proof_of(site: Site, event: int) -> str | None:
    for run in site.runs("created_users_proof"):
        path = f"/api/v2/dags/created_users_proof/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
        if event in [found["id"] for found in site.ask("GET", path)["asset_events"]]:
            return str(run["dag_run_id"])
    return None


def test_the_same_run_again_lands_nothing_again(site: Site) -> None:
    site.trigger(DAG, "twice")
    assert site.ended(DAG, "twice")["state"] == "success"
    before, asked = site.counts(), site.api.count()
    site.ask("POST", f"/api/v2/dags/{DAG}/dagRuns/twice/clear", json={"dry_run": False})
    assert site.ended(DAG, "twice")["state"] == "success"
    assert "raw_users" in site.log(DAG, "twice", TASK, tries=2)
    assert site.counts() == before
    assert site.api.count() == asked + 1  # this very count is the one more


def test_an_api_that_fails_fails_the_task_with_the_reason(site: Site, trouble: Any) -> None:
    before = site.counts()
    trouble(fail=1)
    site.trigger(DAG, "without-api", patience=25)
    assert site.ended(DAG, "without-api")["state"] == "failed"
    log = site.log(DAG, "without-api", TASK)
    assert "penstock ingest: time is up, and not all is done: http://127.0.0.1" in log
    assert "answered 500" in log
    assert site.counts() == before

    trouble()
    site.ask("POST", f"/api/v2/dags/{DAG}/dagRuns/without-api/clear", json={"dry_run": False})
    assert site.ended(DAG, "without-api")["state"] == "success"
    after = site.counts()
    assert after["landing.raw_users"] == before["landing.raw_users"] + 1


def test_a_task_that_is_stopped_ends_its_command(site: Site, trouble: Any) -> None:
    trouble(fail=1)
    site.trigger(DAG, "stopped")
    waited(lambda: commands(site, f"{DAG}/stopped") or None, "the command of the task")
    site.ask("PATCH", f"/api/v2/dags/{DAG}/dagRuns/stopped", json={"state": "failed"})
    waited(lambda: True if commands(site, f"{DAG}/stopped") == [] else None, "its end")
    log = waited(lambda: told(site, "stopped: "), "the reason")
    assert "penstock: finishing the micro-batch" in log


def commands(site: Site, run_id: str) -> list[psutil.Process]:
    """The processes that land for a run."""
    found = []
    for process in servers_of(site.folder):
        with contextlib.suppress(psutil.Error):
            if run_id in process.cmdline():
                found.append(process)
    return found


def told(site: Site, words: str) -> str | None:
    log = site.log(DAG, "stopped", TASK)
    return log if words in log else None
