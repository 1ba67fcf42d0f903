"""What is measured: one function for each row of the table, on a fresh site each."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import floors, peers
from benchmarks.records import write_ndjson
from benchmarks.site import PROGRAMS, Site, site
from penstock.home.latency import Histogram

RUNS = 3
"""Runs of what is short; the median counts."""

VERSIONS = ("penstock", "polars", "pyarrow", "msgspec", "psycopg", "adbc-driver-postgresql")

START = 5
"""Seconds that the steady latencies leave out: tables are made, caches fill."""


@dataclass(frozen=True)
class Result:
    """One figure.

    Args:
        name: What was done.
        value: The figure.
        unit: Its unit.
        note: Conditions and ratios, in words.
    """

    name: str
    value: float
    unit: str
    note: str = ""


def throughput(rows: int, with_peers: bool) -> list[Result]:
    """Topic to table, append and upsert, beside their floors and peers."""
    with site() as here:
        results = floor_results(here, rows)
        lines = here.folder / "records.ndjson"
        write_ndjson(lines, rows)
        here.pipeline("fill", "--until-idle", RECORDS=str(lines))
        lines.unlink()
        for program, floor in (("append", results[0]), ("upsert", results[1])):
            results.append(_pipeline(here, program, rows, floor))
        if with_peers:
            results += _peers(here, rows)
    return results


def floor_results(here: Site, rows: int) -> list[Result]:
    """What PostgreSQL alone does: COPY, and COPY with an upsert."""
    blocks = floors.binary_batches(here.url, rows)
    return [
        Result("floor: raw binary COPY", floors.copy_rate(here.url, blocks, rows), "rows/s"),
        Result(
            "floor: COPY and INSERT … ON CONFLICT … WHERE",
            floors.upsert_rate(here.url, blocks, rows),
            "rows/s",
        ),
    ]


def _pipeline(here: Site, program: str, rows: int, floor: Result) -> Result:
    took, said = here.pipeline(program, "--until-idle")
    written = sum(lane["counts"]["written"] for lane in said["lanes"])
    if written != rows:
        raise AssertionError(f"{program} wrote {written} of {rows} rows")
    rate = rows / said["seconds"]
    note = (
        f"{rate / floor.value:.2f} × {floor.name}; process {took.process:.0f} MB, "
        f"database {took.database:.0f} MB; {rows / took.seconds:,.0f}/s with start and end"
    )
    return Result(f"topic → table, {program}", rate, "records/s", note)


def _peers(here: Site, rows: int) -> list[Result]:
    lines = here.folder / "peer.ndjson"
    write_ndjson(lines, rows, key="uid")
    results = []
    for peer in peers.FROM_FILE:
        for mode in ("checked", "unchecked"):
            seconds = peers.run(peer, mode, [str(lines)], here.url, rows)
            name = f"{peer.name} {peer.version()}: file → table, {mode}"
            results.append(Result(name, rows / seconds, "records/s", peer.note))
    return results


def whole_way(rows: int) -> list[Result]:
    """Generator, landing, topic, table; the median of three runs."""
    runs = [_whole(rows) for _ in range(RUNS)]
    rate, note = sorted(runs)[RUNS // 2]
    note += "; runs: " + ", ".join(f"{one:,.0f}" for one, _ in runs)
    return [Result("generator → landing → topic → table", rate, "records/s", note)]


def _whole(rows: int) -> tuple[float, str]:
    with site() as here:
        took, said = here.pipeline("whole", "--until-idle", ROWS=str(rows))
    note = f"process {took.process:.0f} MB, database {took.database:.0f} MB"
    return rows / said["seconds"], note


def latency(rate: int, seconds: int) -> list[Result]:
    """Born to visible at a steady rate, 4 partitions, two sinks; the start apart."""
    with site() as here:
        _, said = here.pipeline("latency", "--for", f"{seconds}s", RATE=str(rate))
        return latencies(here.url, said, "born → visible", "4 partitions")


def latencies(
    url: str, said: Mapping[str, Any], name: str, note: str, start: int = START
) -> list[Result]:
    """What the ledger says of the segment `trickle` and its sinks, the slower one."""
    steady = steady_latencies(url, start)
    sinks = [lane for lane in said["lanes"] if lane["segment"] == "trickle"]
    taken = min(lane["counts"]["records"] for lane in sinks) / said["seconds"]
    results = []
    for quantile, share in (("p50", 0.5), ("p99", 0.99)):
        whole = max(sink[quantile] or 0.0 for sink in sinks) * 1e3
        late = (found.percentile(share) or 0.0 for found in steady)
        slower = max(late, default=whole / 1e3) * 1e3
        words = (
            f"{taken:,.0f} records/s arrived; {note}, two sinks, the slower one; "
            f"without the first {start} s ({whole:.0f} ms with the last minute's all)"
        )
        results.append(Result(f"{name}, {quantile}", slower, "ms", words))
    return results


def steady_latencies(url: str, start: int) -> list[Histogram]:
    """Each sink's latencies, from the ledger, of micro-batches that began after the start."""
    query = """
        SELECT l.lane, e.timings->'visible' FROM penstock.ledger AS e
        JOIN penstock.lanes AS l ON l.id = e.lane
        WHERE l.segment = 'trickle' AND e.timings ? 'visible' AND e.opened_at >
            (SELECT min(f.opened_at) FROM penstock.ledger AS f
            WHERE f.lane = e.lane) + make_interval(secs => %s)
    """
    found: dict[str, Histogram] = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for lane, buckets in connection.execute(query, (start,)):
            found.setdefault(lane, Histogram()).merge(Histogram.from_json(buckets))
    return list(found.values())


def memory(sizes: Mapping[str, int]) -> list[Result]:
    """Peak memory of the whole way, for growing numbers of records."""
    results = []
    for label, rows in sizes.items():
        with site() as here:
            took, _ = here.pipeline("whole", "--until-idle", ROWS=str(rows))
        results.append(Result(f"peak memory, {label}: process", took.process, "MB"))
        results.append(
            Result(f"peak memory, {label}: database", took.database, "MB", "shared pages once")
        )
    return results


def start() -> list[Result]:
    """From the start of `run` to the first row visible, the database already there."""
    colds, warms = [], []
    for _ in range(RUNS):
        with site() as here:
            colds.append(_first_row(here))
            took, _ = here.pipeline("start", "--until-idle")
            warms.append(took.seconds)
    return [
        _median("start of `run` → first row visible", colds, "tables are created on the way"),
        _median("start of `run` → idle, nothing to do", warms, "second run, whole process"),
    ]


def _median(name: str, seconds: Sequence[float], note: str) -> Result:
    each = ", ".join(f"{one:.2f}" for one in seconds)
    return Result(name, statistics.median(seconds), "s", f"{note}; runs: {each}")


def _first_row(here: Site) -> float:
    started = time.perf_counter()
    runner = threading.Thread(target=here.pipeline, args=("start", "--until-idle"))
    runner.start()
    with psycopg.connect(here.url, autocommit=True) as connection:
        while not _row(connection):
            time.sleep(0.005)
    seconds = time.perf_counter() - started
    runner.join()
    return seconds


def _row(connection: psycopg.Connection) -> bool:
    try:
        found = connection.execute('SELECT count(*) FROM "warehouse"."start_users"').fetchone()
    except psycopg.errors.UndefinedTable:
        return False
    return found is not None and found[0] > 0


def conditions() -> str:
    """Say on what this ran."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    commit = subprocess.run(
        ["git", "-C", str(PROGRAMS), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return (
        f"{os.cpu_count()} cores ({model}), load {load}, commit {commit}, "
        f"Python {platform.python_version()}, {libraries}"
    )
