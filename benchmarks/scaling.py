"""How the Spark engine grows with executors and partitions, and what each record costs whom.

On one machine executors share its cores, so the rates say little of a cluster. What is kept is the
processor time of each part for a record and for a micro-batch: `scaling_model` makes of it what a
larger deployment needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl
import psycopg

from benchmarks.cluster import Cluster, cluster
from benchmarks.sink_postgresql import apart_rates, frames
from benchmarks.spending import Spending
from benchmarks.stack import create, fill
from benchmarks.steady import Steady, steady
from benchmarks.suite import Result

EXECUTORS = (1, 2)
PARTITIONS = (2, 8, 32)
WARM = 10.0
RECORDS = 25_000
"""In a micro-batch: so many of them that the first ones can be left out."""

TINY = 200
TINIES = 60

APART: Mapping[str, int | str] = {"records": RECORDS, "inline": 1}
"""Executors stage what they made."""

INLINE: Mapping[str, int | str] = {"records": RECORDS, "inline": RECORDS}
"""The driver writes what executors made."""

STAGED = 200_000
"""Rows of which the sink alone is measured."""

SINKS = {
    "append, apart": ("kafka_append", APART),
    "append, inline": ("kafka_append", INLINE),
    "upsert, apart": ("kafka_upsert", APART),
}


def measure(rows: int) -> Iterator[Result]:
    """Run all combinations; each gives a rate, and what everybody spent on it."""
    with cluster() as here:
        for partitions in PARTITIONS:
            topic = "people" if partitions == PARTITIONS[1] else f"people{partitions}"
            create(here.stack.kafka, topic, partitions)
            fill(here.stack.kafka, topic, rows)
            for executors in EXECUTORS:
                name = f"plan, {executors} × {partitions}"
                yield from _grown(here, name, "spark_nowhere", executors, INLINE, TOPIC=topic)
        for name, (program, settings) in SINKS.items():
            yield from _grown(here, name, program, EXECUTORS[-1], settings)
        create(here.stack.kafka, "tiny", PARTITIONS[1])
        fill(here.stack.kafka, "tiny", TINIES * TINY)
        tiny: Mapping[str, int | str] = {"records": TINY, "trigger": "1ms"}
        yield from _grown(here, "tiny", "spark_tiny", EXECUTORS[-1], tiny, TOPIC="tiny")
        yield from _sink(here)


def _grown(
    here: Cluster,
    name: str,
    program: str,
    executors: int,
    settings: Mapping[str, int | str],
    **environment: str,
) -> Iterator[Result]:
    _forget(here)
    engine = f"local-cluster[{executors},1,1024]"
    with Spending(here.stack.here.folder) as spending:
        here.pipeline(program, engine, "--until-idle", spark=settings, **environment)
    found = steady(here.url, program, WARM)
    each = len(found.batches)
    note = f"{each} micro-batches of {found.records // each:,}, {found.took:.2f} s each"
    yield Result(f"{name}: rate", found.rate, "records/s", note)
    yield Result(f"{name}: period", found.period * 1000, "ms", "from one micro-batch to the next")
    yield from _spent(name, spending, found)


def _spent(name: str, spending: Spending, found: Steady) -> Iterator[Result]:
    for role, seconds in sorted(spending.between(found.start, found.end).items()):
        note = f"{seconds * 1000 / len(found.batches):.0f} ms for each micro-batch"
        yield Result(f"{name}: {role}", seconds / found.records * 1e6, "µs/record", note)


def _sink(here: Cluster) -> Iterator[Result]:
    """The PostgreSQL sink alone: what one session stages, and what one commit moves."""
    _forget(here)
    blocks = frames(STAGED)
    batches = [pl.concat(blocks[at : at + 2]).rechunk() for at in range(0, len(blocks), 2)]
    for mode in ("append", "upsert"):
        staging, commit = apart_rates(here.url, mode, batches)
        note = f"the sink alone, {mode}, {batches[0].height:,} rows"
        yield Result(f"sink, {mode}: staging", staging, "rows/s", f"{note}, one session")
        yield Result(f"sink, {mode}: commit", commit, "rows/s", note)


def _forget(here: Cluster) -> None:
    """Let the next run begin anew: no table, no progress, nothing at home."""
    with psycopg.connect(here.url, autocommit=True) as connection:
        for schema in ("penstock", "warehouse", "serving"):
            connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
