"""Topic to Parquet files on disk, beside pyarrow writing the same rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.records import write_ndjson
from benchmarks.sink_postgresql import User, frames
from benchmarks.site import Site, site
from benchmarks.suite import Result
from penstock import contract as ps
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import LaneKey, Step
from penstock.sinks.files import FileSink

_BATCH = 80_000
"""Rows of a file: about what 32 MiB of the log hold."""

_PROFILE = """
[profiles.lake]
home = "embedded:"
log  = "embedded:"

[profiles.lake.stores.lake]
url = "{}"
"""


def parts(quick: bool) -> dict[str, Callable[[], Iterable[Result]]]:
    """The parts of this module, by name."""
    return {"lake": lambda: throughput(200_000 if quick else 1_000_000)}


def throughput(rows: int) -> list[Result]:
    """Write a topic to files; the floor writes the same rows from memory."""
    with site() as here:
        lines = here.folder / "records.ndjson"
        write_ndjson(lines, rows)
        here.pipeline("fill", "--until-idle", RECORDS=str(lines))
        lines.unlink()
        floor = Result("floor: pyarrow, Parquet, zstd, fsync", _floor(here.folder, rows), "rows/s")
        alone = Result("sink alone, from frames in memory", sink_rate(here.folder, rows), "rows/s")
        _, said = here.pipeline("append", "--until-idle")
        beside = Result("topic → table, append", rows / said["seconds"], "records/s")
        return [floor, alone, beside, _pipeline(here, rows, floor, beside)]


def sink_rate(folder: Path, rows: int) -> float:
    """Rows/s of the sink alone, from frames in memory to files that are seen."""
    lane = Lane("t@lake", "lake", "t", "append", ps.spec(User), (), 1, None, "", 0)
    store = Store("lake", (folder / "alone").as_uri())
    sink = FileSink(store, lane, LaneKey("benchmark", "log", "segment", "t@lake"))
    sink.open()
    stands = sink.claim({0: 1})[0]
    whole = pl.concat(frames(rows)).rechunk()
    started = time.perf_counter()
    for start in range(0, rows, _BATCH):
        batch = whole[start : start + _BATCH]
        after = replace(stands, next=stands.next + batch.height)
        stands = sink.commit([sink.stage(batch)], {0: Step(stands, after)})[0]
    seconds = time.perf_counter() - started
    sink.close()
    return rows / seconds


def _floor(folder: Path, rows: int) -> float:
    table = pa.concat_tables([frame.to_arrow() for frame in frames(rows)])
    started = time.perf_counter()
    for number, start in enumerate(range(0, rows, _BATCH)):
        path = folder / f"floor-{number}.parquet"
        pq.write_table(table.slice(start, _BATCH), path, compression="zstd")
        with path.open("rb") as written:
            os.fsync(written.fileno())
    return rows / (time.perf_counter() - started)


def _pipeline(here: Site, rows: int, floor: Result, beside: Result) -> Result:
    lake = here.folder / "lake"
    (here.folder / "penstock.toml").write_text(_PROFILE.format(lake.as_uri()))
    took, said = here.pipeline("lake", "--until-idle", "--profile", "lake")
    found = list((lake / "users").glob("*.parquet"))
    written = sum(pq.read_metadata(path).num_rows for path in found)
    if written != rows:
        raise AssertionError(f"the files hold {written} of {rows} rows")
    rate = rows / said["seconds"]
    size = sum(path.stat().st_size for path in found) / 1e6
    ratios = [f"{rate / one.value:.2f} × {one.name}" for one in (floor, beside)]
    note = (
        f"{', '.join(ratios)}; {len(found)} files of {size:.0f} MB in all; "
        f"process {took.process:.0f} MB; {rows / took.seconds:,.0f}/s with start and end"
    )
    return Result("topic → Parquet files on disk", rate, "records/s", note)
