"""Files in: read, cut, checked; and landed. Beside what Polars makes of the same file."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.records import COLUMNS, write_ndjson
from benchmarks.site import PROGRAMS, site
from benchmarks.suite import RUNS, Result
from penstock.contract import decode, spec
from penstock.interfaces import Response
from penstock.sources.files import Files
from penstock.testing import ManualClock

sys.path.append(str(PROGRAMS))
from user import User

_TEXT = dict.fromkeys(COLUMNS, pl.String)
_MORE = 8 * 1024 * 1024


def parts(quick: bool) -> dict[str, Callable[[], Iterable[Result]]]:
    """The benchmarks of this module, by name."""
    return {"files": lambda: measured(100_000 if quick else 500_000)}


def measured(rows: int) -> Iterator[Result]:
    """Each format: decoded with all checks in this process, and landed by the command."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        for format, file, floor in _written(Path(folder), rows):
            beside = statistics.median(_rate(rows, floor) for _ in range(RUNS))
            yield Result(f"floor: Polars reads {format}, unchecked", beside, "per CPU-s")
            decoding = partial(_decoded, file, format, rows)
            rate = statistics.median(_rate(rows, decoding) for _ in range(RUNS))
            note = f"{rate / beside:.2f} × Polars"
            yield Result(f"{format} file → checked rows", rate, "per CPU-s", note)
            yield _landed(file, format, rows)


def _landed(file: Path, format: str, rows: int) -> Result:
    program = str(PROGRAMS / "files.py")
    with site() as here:
        _, said = here.penstock("ingest", program, "--once", RECORDS=str(file), FORMAT=format)
    size = file.stat().st_size / said["seconds"] / 1e6
    note = f"{size:,.0f} MB/s of file, start of the command included"
    return Result(f"{format} file → landing, committed", rows / said["seconds"], "records/s", note)


def _written(folder: Path, rows: int) -> Iterator[tuple[str, Path, Callable[[], Any]]]:
    lines = folder / "records.ndjson"
    write_ndjson(lines, rows)
    table = pl.read_ndjson(lines, schema=_TEXT)
    yield "ndjson", lines, lambda: pl.read_ndjson(lines, schema=_TEXT)
    commas = folder / "records.csv"
    table.write_csv(commas)
    yield "csv", commas, lambda: pl.read_csv(commas, infer_schema=False)
    columns = folder / "records.parquet"
    times = [pl.col("dob", "registered_date").str.to_datetime(time_zone="UTC")]
    table.with_columns(times).write_parquet(columns, row_group_size=100_000)
    yield "parquet", columns, lambda: pl.read_parquet(columns)


def _rate(rows: int, work: Callable[[], Any]) -> float:
    """Per second of processor time, of all threads, so that other work disturbs little."""
    start = time.process_time()
    work()
    return rows / (time.process_time() - start)


def _decoded(file: Path, format: str, rows: int) -> None:
    """As a run does it: some responses at once."""
    source = Files(file, format=format)
    found = sum(_good(source, some) for some in _some(source.poll(None, ManualClock())))
    if found != rows:
        raise AssertionError(f"{found} of {rows} records of {file} are good")


def _some(responses: Iterable[Response]) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    for response in responses:
        held.append(response.body)
        if sum(map(len, held)) > _MORE:
            yield held
            held = []
    if held:
        yield held


def _good(source: Files, bodies: list[bytes]) -> int:
    values = pl.Series(bodies, dtype=pl.Binary)
    return decode(spec(User), values, source.framing).rows.height
