"""Every minute: the same as `user_automation`, for a topic that should be fed all day.

The variable `kafka_stream_schedule` (in Airflow, or `AIRFLOW_VAR_KAFKA_STREAM_SCHEDULE` in the
environment) sets another schedule, as cron has it: `*/5 * * * *`. A run that takes longer than that
delays the next; runs never overlap.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, Variable

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
    dag_id="kafka_stream_dag",
    schedule=Variable.get("kafka_stream_schedule", default="* * * * *"),
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
