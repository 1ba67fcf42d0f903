"""Events from files that are dropped into inbox/, into the lake.

An event appears in the lake once, however often the run is stopped or killed.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

import penstock as ps


class Event(ps.Contract):
    """A line of a file; fields that are not named here are ignored."""

    id: str
    kind: Literal["click", "view", "purchase"]
    page: str
    at: datetime


class LakeEvent(ps.Contract):
    """An event as the lake holds it."""

    id: str
    kind: str
    page: str
    at: datetime
    day: str


def with_day(events: pl.DataFrame) -> pl.DataFrame:
    """Add the day, in UTC."""
    return events.with_columns(day=pl.col("at").dt.strftime("%Y-%m-%d"))


pipeline = ps.Pipeline("@name@")
inbox = ps.Files(Path(__file__).with_name("inbox"), every="1s")
events = pipeline.source(inbox, Event, land="raw_events").map(with_day, LakeEvent)
events.sink("events", store="lake", mode="append")
