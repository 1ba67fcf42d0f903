"""Plans: a segment compiled to a pure function from a micro-batch to an outcome."""

from penstock.plan.compile import compile, validate
from penstock.plan.model import (
    BATCH_SCHEMA,
    LOG_STORE,
    REPLAY,
    ROW_SCHEMA,
    Lane,
    LaneOutcome,
    MicroBatch,
    Outcome,
    Segment,
    row_schema,
)
from penstock.plan.run import Plan

__all__ = [
    "BATCH_SCHEMA",
    "LOG_STORE",
    "REPLAY",
    "ROW_SCHEMA",
    "Lane",
    "LaneOutcome",
    "MicroBatch",
    "Outcome",
    "Plan",
    "Segment",
    "compile",
    "row_schema",
    "validate",
]
