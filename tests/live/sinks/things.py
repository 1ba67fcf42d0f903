"""A contract with every type, rows of it, and sinks for it: what the tests of sinks share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import polars as pl

import penstock.contract as ps
from penstock.interfaces import Counts, LaneKey, Progress, Step
from penstock.plan import Lane
from penstock.sinks.postgresql import PostgresqlSink

KEY = LaneKey("shop", "log-1", "orders_placed", "orders@store")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(ps.Contract):
    name: str
    amount: Annotated[Decimal, ps.Digits(38, 9)]
    at: datetime | None
    raw: bytes
    tags: list[str]


class Everything(ps.Contract):
    id: UUID = ps.key()
    name: str
    code: ps.Text | None
    count: int
    ratio: float | None
    good: bool
    price: Annotated[Decimal, ps.Digits(38, 9)] | None
    day: date
    at: datetime = ps.born()
    raw: bytes | None
    colour: Colour
    size: Literal["s", "é'\""]
    numbers: list[int] | None
    maybe: list[float | None]
    inner: Inner
    inners: list[Inner] | None


class Person(ps.Contract):
    id: int = ps.key()
    email: str | None
    age: int | None


def lane(contract: type[ps.Contract], mode: str = "upsert", table: str = "people") -> Lane:
    spec = ps.spec(contract)
    key = spec.key if mode == "upsert" else ()
    return Lane(f"{table}@store", "store", table, mode, spec, key, 1, None, "shop.py", 7)  # type: ignore[arg-type]


def sink(url: str, mode: str = "upsert", contract: type[ps.Contract] = Person) -> PostgresqlSink:
    made = PostgresqlSink(url, lane(contract, mode), KEY)
    made.open()
    return made


def rows(
    frame: pl.DataFrame, *, partition: int = 0, start: int = 0, base: int = 1_000_000
) -> pl.DataFrame:
    """Put positions and order stamps beside a contract's columns."""
    offsets = pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True)
    return frame.with_columns(
        pl.lit(partition, pl.Int32).alias("_partition"),
        offsets.alias("_offset"),
        pl.lit(0, pl.Int64).alias("_index"),
        (offsets + base).alias("_order"),
        pl.lit(datetime(2026, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC")).alias("_born"),
        pl.lit(False).alias("_deleted"),
    )


def people(*people: tuple[int, str | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(people, schema=ps.spec(Person).polars, orient="row")


def deleted(frame: pl.DataFrame, *keys: int) -> pl.DataFrame:
    """Make deletes of the rows with these keys."""
    gone = pl.col("id").is_in(keys)
    nothing = [pl.when(~gone).then(pl.col(name)).alias(name) for name in ("email", "age")]
    return frame.with_columns(*nothing, _deleted=gone)


def steps(before: Mapping[int, Progress], **moves: int) -> dict[int, Step]:
    """Move each partition `p0=10` to an offset."""
    made = {}
    for name, next in moves.items():
        stands = before[int(name.removeprefix("p"))]
        records = Counts(records=next - stands.next)
        after = Progress(next, stands.epoch, stands.totals + records, None, "plan", "tail")
        made[int(name.removeprefix("p"))] = Step(stands, after)
    return made
