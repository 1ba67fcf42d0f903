"""Writes micro-batches and reads tables back."""

from __future__ import annotations

import polars as pl

from penstock.records import Progress
from penstock.sinks.cassandra import CassandraSink
from penstock.testing.conformance.subjects import steps


def write(sink: CassandraSink, rows: pl.DataFrame, epoch: int = 1) -> Progress:
    """Write rows of partition 0 as its next micro-batch."""
    before = sink.claim({0: epoch})
    next_ = before[0].next + rows.height
    return sink.commit([sink.stage(rows)], steps(before, {0: next_}))[0]


def read(sink: CassandraSink) -> pl.DataFrame:
    return pl.concat(list(sink.positions())).sort("id")
