"""What the conformance suites write and read: contracts, lanes, rows and steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl

from penstock import contract as ps
from penstock.plan import Lane
from penstock.records import Counts, LaneKey, Position, Progress, Step

KEY = LaneKey("shop", "log-1", "orders_placed", "people@store")
"""Under what the suites keep progress."""

HOSTILE = ("select", "a b", "q\"uo'te", "back\\slash", "Ünï çødé ☃", "semi;--colon", "x" * 63)
"""Names of tables and topics that must work."""


class Colour(Enum):
    """An Enum field's values."""

    RED = "red"
    BLUE = "blue"


class Inner(ps.Contract):
    """Nested in `Everything`."""

    name: str
    amount: Annotated[Decimal, ps.Digits(38, 9)]
    at: datetime | None
    raw: bytes
    tags: list[str]


class Everything(ps.Contract):
    """Every type of a contract."""

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
    """A small contract with a key."""

    id: int = ps.key()
    email: str | None
    age: int | None


def lane(contract: type[ps.Contract], mode: str, table: str = "people") -> Lane:
    """Make a lane of a contract, as a plan would."""
    spec = ps.spec(contract)
    key = () if mode == "append" else spec.key
    return Lane(f"{table}@store", "store", table, mode, spec, key, 2, None, "shop.py", 7)  # type: ignore[arg-type]


def people(*values: tuple[int, str | None, int | None]) -> pl.DataFrame:
    """Make persons of (id, email, age)."""
    return pl.DataFrame(values, schema=ps.spec(Person).polars, orient="row")


def everything() -> pl.DataFrame:
    """Make rows of every type: random ones, and both ends of each type's domain."""
    random = ps.synthetic(ps.spec(Everything), 50, 1)
    ends = pl.DataFrame([_end(low=True), _end(low=False)], schema=random.schema, orient="row")
    return pl.concat([random, ends])


def rows(
    frame: pl.DataFrame, *, partition: int = 0, start: int = 0, base: int = 1_000_000
) -> pl.DataFrame:
    """Put positions and order stamps beside a contract's columns, one offset for each row."""
    offsets = pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True)
    return frame.with_columns(
        pl.lit(partition, pl.Int32).alias("_partition"),
        offsets.alias("_offset"),
        pl.lit(0, pl.Int64).alias("_index"),
        (offsets + base).alias("_order"),
        pl.lit(datetime(2026, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC")).alias("_born"),
        pl.lit(False).alias("_deleted"),
    )


def deleted(frame: pl.DataFrame, *keys: int) -> pl.DataFrame:
    """Make deletes of the persons with these ids."""
    gone = pl.col("id").is_in(keys)
    nothing = [pl.when(~gone).then(pl.col(name)).alias(name) for name in ("email", "age")]
    return frame.with_columns(*nothing, _deleted=gone)


def steps(before: Mapping[int, Progress], to: Mapping[int, int]) -> dict[int, Step]:
    """Move partitions to offsets, every offset in between a record."""
    return {partition: _step(partition, before[partition], next) for partition, next in to.items()}


def _step(partition: int, stands: Progress, next: int) -> Step:
    records = Counts(records=next - stands.next)
    last = Position(partition, next - 1, 0)
    after = Progress(next, stands.epoch, stands.totals + records, last, "plan", "tail")
    return Step(stands, after)


def _end(*, low: bool) -> dict[str, Any]:
    most = Decimal(("-" if low else "") + "9" * 29 + "." + "9" * 9)
    moment = datetime(1, 1, 1, tzinfo=UTC)
    if not low:
        moment = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    inner = {
        "name": "" if low else "\x01\x7f \"quoted\" \\ 'é' ☃ 😀\n\t",
        "amount": most,
        "at": None if low else moment,
        "raw": b"" if low else bytes(range(256)),
        "tags": [] if low else ["", "null", '"', "\\u0000"],
    }
    return {
        "id": str(UUID(int=0 if low else 2**128 - 1)),
        "name": inner["name"],
        "code": None if low else "1e400",
        "count": -(2**63) if low else 2**63 - 1,
        "ratio": 5e-324 if low else 1.7976931348623157e308,
        "good": low,
        "price": most,
        "day": date(1, 1, 1) if low else date(9999, 12, 31),
        "at": moment,
        "raw": inner["raw"],
        "colour": "red" if low else "blue",
        "size": "s" if low else "é'\"",
        "numbers": [] if low else [-(2**63), 2**63 - 1],
        "maybe": [None] if low else [1e300, -0.1, None],
        "inner": inner,
        "inners": None if low else [inner, inner],
    }
