"""What masks cost: a plan over records of twelve fields, with and without them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import polars as pl

import penstock as ps
from benchmarks.decoders import User
from benchmarks.suite import Result
from penstock.contract import encode, spec, synthetic
from penstock.pipeline import Pipeline
from penstock.plan import MicroBatch, Plan, compile
from penstock.records import Span

ROUNDS = 3
_BATCH = 20_000
_KEY = ps.env("BENCHMARK_MASK_KEY")


class Hashed(User):
    """One field hashed."""

    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+"), ps.masked("hash", key=_KEY)]


class Tokenised(User):
    """One field tokenised."""

    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+"), ps.masked("tokenise", key=_KEY)]


class Partial(User):
    """One field partly kept."""

    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+"), ps.masked("partial", first=1, after="@")]


def parts(quick: bool) -> Mapping[str, Callable[[], Iterable[Result]]]:
    """The parts by name."""
    return {"masking": lambda: measured(200_000 if quick else 1_000_000)}


def measured(rows: int) -> list[Result]:
    """Run a plan without I/O over rows in micro-batches; seconds of processor time, by turns."""
    os.environ[_KEY.name] = "the key of a benchmark"
    contracts = (User, Hashed, Tokenised, Partial)
    values = encode(spec(User), synthetic(spec(User), _BATCH))
    batch = _batch(values)
    spent: dict[str, list[float]] = {one.__name__: [] for one in contracts}
    plans = {one.__name__: _plan(one) for one in contracts}
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            began = time.process_time()
            for _ in range(rows // _BATCH):
                outcome = plan.run(batch, ["users@warehouse"])
                assert outcome.lanes["users@warehouse"].rows.height == _BATCH
            spent[name].append(time.process_time() - began)
    floor = statistics.median(spent["User"])
    return [
        Result(
            f"plan, {name.lower()}",
            rows / statistics.median(times),
            "records/s of processor time",
            f"{statistics.median(times) / floor:.2f} of the time without masks; "
            f"{(statistics.median(times) - floor) / rows * 1e6:.2f} µs a value",
        )
        for name, times in spent.items()
    ]


def _plan(contract: type[ps.Contract]) -> Plan:
    pipeline = Pipeline("masking")
    pipeline.topic("users", contract).sink("users", store="warehouse")
    return compile(pipeline)[0].plan


def _batch(values: pl.Series) -> MicroBatch:
    count = len(values)
    records = pl.DataFrame({"offset": range(count), "value": values}).select(
        partition=pl.lit(0, pl.Int32),
        offset=pl.col("offset").cast(pl.Int64),
        key=pl.lit(None, pl.Binary),
        value="value",
        headers=pl.lit(None, pl.Binary),
        born=pl.lit(0).cast(pl.Datetime("us", "UTC")),
        order=pl.col("offset").cast(pl.Int64),
    )
    return MicroBatch({0: Span(0, count)}, records)
