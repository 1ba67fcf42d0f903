"""After each run that updated the asset `created_users`: proves every row against the log.

An example of what other teams do with the asset: their DAGs start when the users are there, not at
some time when they should be.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG

sys.path.append(str(Path(__file__).parent))  # a bare DagBag does not

from penstock_task import CREATED_USERS, DEFAULTS, PARAMS, PenstockOperator, prove

with DAG(
    dag_id="created_users_proof",
    schedule=[CREATED_USERS],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    doc_md=__doc__,
    tags=["penstock"],
):
    PenstockOperator(task_id="reconcile", steps=[prove])
