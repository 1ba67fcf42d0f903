"""What a frame of log records looks like, whatever system holds the log."""

from __future__ import annotations

import polars as pl

from penstock.plan import BATCH_SCHEMA
from penstock.records import LOG_COLUMNS

RECORDS = pl.Schema({name: BATCH_SCHEMA[name] for name in LOG_COLUMNS})
"""Types of `records.LOG_COLUMNS`."""
