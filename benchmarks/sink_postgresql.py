"""How near the PostgreSQL sink comes to PostgreSQL's own floors, in the same run.

    python -m benchmarks.sink_postgresql --rows 500000 --url postgresql://…

Floors: raw binary COPY of the same rows; COPY to a temporary table and one INSERT … ON CONFLICT …
WHERE. Every micro-batch is one transaction, for the floors and for the sink.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import polars as pl
import psycopg

from benchmarks.floors import BATCH, binary_batches, copy_rate, upsert_rate
from benchmarks.records import records
from penstock import contract as ps
from penstock.plan import Lane
from penstock.records import Counts, LaneKey, Progress, Step
from penstock.sinks.postgresql import PostgresqlSink


class User(ps.Contract):
    id: UUID = ps.key()
    first_name: str
    last_name: str
    gender: str
    address: str
    post_code: str
    email: str
    username: str
    dob: datetime
    registered_date: datetime
    phone: str
    picture: str


def frames(count: int) -> list[pl.DataFrame]:
    """Return the same rows as the floors write, as a plan gives them."""
    spec = ps.spec(User)
    raw = pl.DataFrame(list(records(count)))
    dates = pl.col("dob", "registered_date").str.to_datetime(time_unit="us", time_zone="UTC")
    rows = raw.with_columns(dates).select(spec.polars.names())
    offsets = pl.int_range(0, count, dtype=pl.Int64, eager=True)
    placed = rows.with_columns(
        pl.lit(0, pl.Int32).alias("_partition"),
        offsets.alias("_offset"),
        pl.lit(0, pl.Int64).alias("_index"),
        (offsets + 1).alias("_order"),
        pl.lit(datetime.now(UTC), pl.Datetime("us", "UTC")).alias("_born"),
        pl.lit(False).alias("_deleted"),
    )
    return [placed[start : start + BATCH].rechunk() for start in range(0, count, BATCH)]


def sink_rate(url: str, mode: str, batches: Sequence[pl.DataFrame], count: int) -> float:
    """Rows/s of the sink, from frames in memory to committed rows with their progress."""
    table = f"benchmark_{mode}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute("DROP SCHEMA IF EXISTS penstock CASCADE")
    sink = PostgresqlSink(url, _lane(table, mode), LaneKey("benchmark", "log", "segment", table))
    sink.open()
    stands = sink.claim({0: 1})[0]
    sink.rollback()
    started = time.perf_counter()
    for batch in batches:
        stands = sink.commit([sink.stage(batch)], {0: _step(stands, batch.height)})[0]
    seconds = time.perf_counter() - started
    sink.close()
    if stands.totals.written != count:
        raise AssertionError(f"the sink wrote {stands.totals.written} of {count} rows")
    return count / seconds


def apart_rates(url: str, mode: str, batches: Sequence[pl.DataFrame]) -> tuple[float, float]:
    """Rows/s of rows staged from elsewhere, two calls for each batch: one session's staging, and
    the one commit that follows; medians.
    """
    key = LaneKey("benchmark", "apart", "segment", f"apart_{mode}")
    lane = _lane(key.lane, mode)
    sink, helper = (PostgresqlSink(url, lane, key) for _ in range(2))
    sink.open()
    stands = sink.claim({0: 1})[0]
    rates = []
    for number, batch in enumerate(batches):
        place = sink.lay(number + 1, 0, 1)
        halves = (batch[: batch.height // 2], batch[batch.height // 2 :])
        started = time.perf_counter()
        receipts = [helper.stage_apart(place, half) for half in halves]
        staged = time.perf_counter()
        stands = sink.commit(receipts, {0: _step(stands, batch.height)})[0]
        ended = time.perf_counter()
        rates.append((batch.height / (staged - started), batch.height / (ended - staged)))
    for one in (helper, sink):
        one.close()
    staging, commits = zip(*rates, strict=True)
    return statistics.median(staging), statistics.median(commits)


def small_commit(url: str, mode: str, batch: pl.DataFrame, times: int = 200) -> float:
    """Milliseconds, at the median, of a micro-batch of a few rows."""
    table = f"benchmark_{mode}"
    sink = PostgresqlSink(url, _lane(table, mode), LaneKey("benchmark", "log", "segment", table))
    sink.open()
    stands = sink.claim({0: 2})[0]
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        stands = sink.commit([sink.stage(batch)], {0: _step(stands, batch.height)})[0]
        taken.append(time.perf_counter() - started)
    sink.close()
    return statistics.median(taken) * 1000


def main() -> None:
    """Print both rates, both floors and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", required=True)
    asked = parser.parse_args()
    blocks, batches = binary_batches(asked.url, asked.rows), frames(asked.rows)
    for mode, floor in (("append", copy_rate), ("upsert", upsert_rate)):
        pairs = [
            (floor(asked.url, blocks, asked.rows), sink_rate(asked.url, mode, batches, asked.rows))
            for _ in range(asked.rounds)
        ]
        least, most = max(f for f, _ in pairs), max(s for _, s in pairs)
        small = small_commit(asked.url, mode, batches[0][:20])
        print(
            f"{mode:8} floor {least:>9,.0f} rows/s   sink {most:>9,.0f} rows/s   "
            f"ratio {most / least:.2f}   20 rows committed in {small:.1f} ms"
        )


def _lane(table: str, mode: str) -> Lane:
    spec = ps.spec(User)
    key = spec.key if mode == "upsert" else ()
    return Lane(table, "benchmark", table, mode, spec, key, 1, None, "", 0)  # type: ignore[arg-type]


def _step(stands: Progress, height: int) -> Step:
    records = Counts(records=height)
    return Step(stands, Progress(stands.next + height, stands.epoch, stands.totals + records))


if __name__ == "__main__":
    main()
