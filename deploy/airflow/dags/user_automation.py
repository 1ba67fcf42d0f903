"""Once a day: people from the API, landed, through the topic, into the tables.

What a run lands is kept under its id, so it may be repeated at will, by a retry or by *Clear*.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG

sys.path.append(str(Path(__file__).parent))  # a bare DagBag does not

from penstock_task import (
    CREATED_USERS,
    DEFAULTS,
    PARAMS,
    PenstockOperator,
    format_data,
    stream_data,
)

with DAG(
    dag_id="user_automation",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
    doc_md=__doc__,
    tags=["penstock"],
):
    PenstockOperator(
        task_id="stream_data_from_api",
        steps=[stream_data, format_data],
        outlets=[CREATED_USERS],
    )
