"""Makes up rows that fit a contract, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa

from penstock.contract.checks import validate
from penstock.contract.columns import cut
from penstock.contract.constraints import Constraint, Length, OneOf, Pattern, Range
from penstock.contract.regexes import matching
from penstock.contract.spec import ContractSpec
from penstock.contract.types import (
    BytesType,
    ChoiceType,
    DatetimeType,
    DateType,
    DecimalType,
    Field,
    FloatType,
    IntType,
    ListType,
    NestedType,
    Type,
    UuidType,
)

WORDS = ("amber", "brook", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "juniper")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROUNDS = 8
POOL = 1000
"""How many different strings a `Pattern` is given: making them up is slow."""

Constraints = tuple[Constraint, ...]


def synthetic(spec: ContractSpec, rows: int, seed: int = 0) -> pl.DataFrame:
    """Make up rows that fit the contract; keys hardly ever repeat.

    A row that breaks a `Check`, or a `Pattern` that only Rust can read, is drawn again a few
    times; if the rule is too rare to be met by chance, rows that break it remain.

    Args:
        spec: The contract.
        rows: How many.
        seed: The same seed gives the same rows.
    """
    chance = Chance(seed)
    good = pl.DataFrame(schema=spec.polars)
    for _ in range(ROUNDS):
        drawn = pl.DataFrame([_slot(f, rows, chance).alias(f.name) for f in spec.fields])
        bad = [row for row, _ in validate(spec, drawn)]
        kept = drawn.filter(~pl.int_range(pl.len()).is_in(bad)) if bad else drawn
        good = pl.concat([good, kept.head(rows - len(good))])
        if len(good) == rows:
            return good
    return pl.concat([good, drawn.head(rows - len(good))])


class Chance:
    """Columns of random numbers, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311

    def raw(self, rows: int, type: pa.DataType) -> pl.Series:
        """Draw columns of random bits."""
        bits = pa.py_buffer(self.random.randbytes(rows * type.bit_width // 8))
        column = pl.from_arrow(pa.Array.from_buffers(type, rows, [None, bits]))
        assert isinstance(column, pl.Series)  # noqa: S101
        return column

    def ints(self, rows: int, least: int, most: int) -> pl.Series:
        """Draw whole numbers, both ends included."""
        bits = pl.lit(self.raw(rows, pa.uint64())).cast(pl.Int128)
        width, start = pl.lit(most - least + 1, pl.Int128), pl.lit(least, pl.Int128)
        return pl.select((bits % width + start).cast(pl.Int64)).to_series()

    def among(self, rows: int, values: pl.Series) -> pl.Series:
        """Draw from values."""
        return values.gather(self.ints(rows, 0, len(values) - 1))


def _slot(field: Field, rows: int, chance: Chance) -> pl.Series:
    column = _column(field.type, field.constraints, rows, chance, distinct=field.is_key)
    if not field.nullable:
        return column
    there = chance.ints(rows, 0, 7) > 0
    return pl.select(pl.when(there).then(column)).to_series()


def _column(
    type: Type, constraints: Constraints, rows: int, chance: Chance, *, distinct: bool = False
) -> pl.Series:
    for constraint in constraints:
        if isinstance(constraint, OneOf):
            return chance.among(rows, pl.Series(constraint.values, dtype=type.polars, strict=False))
        if isinstance(constraint, Pattern):
            pool = _pool(constraint, rows if distinct else min(rows, POOL), chance)
            return pool if distinct else chance.among(rows, pool)
    if isinstance(type, ListType):
        return _lists(type, constraints, rows, chance)
    if isinstance(type, NestedType):
        columns = [_slot(f, rows, chance).alias(f.name) for f in type.fields]
        return pl.DataFrame(columns).to_struct()
    return _SCALARS[type.kind](type, constraints, rows, chance).cast(type.polars)


def _pool(pattern: Pattern, size: int, chance: Chance) -> pl.Series:
    """Make up strings that match."""
    made = [matching(pattern.regex, chance.random) for _ in range(size)]
    return pl.Series(made, dtype=pl.String)


def _lists(type: ListType, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    least, most = _length(constraints, 0, 3)
    ends = list(accumulate(chance.ints(rows, least, most), initial=0))
    elements = _column(type.element, type.constraints, ends[-1], chance)
    return cut(elements, pa.array(ends, pa.int64())).cast(type.polars)


def _length(constraints: Constraints, least: int, most: int) -> tuple[int, int]:
    for constraint in constraints:
        if isinstance(constraint, Length):
            least = max(least, constraint.min)
            most = max(most, least) if constraint.max is None else constraint.max
    return min(least, most), most


def _bounds(constraints: Constraints, ends: tuple[Any, Any], step: Any) -> tuple[Any, Any]:
    """The least and the greatest value that the ranges allow, near to `ends` if one is open."""
    lows, highs = [], []
    for bounds in (c.bounds for c in constraints if isinstance(c, Range)):
        lows += [bounds[k] + step * (k == "gt") for k in ("ge", "gt") if k in bounds]
        highs += [bounds[k] - step * (k == "lt") for k in ("le", "lt") if k in bounds]
    width = ends[1] - ends[0]
    least = max(lows) if lows else min([ends[0], *(high - width for high in highs)])
    most = min(highs) if highs else max(ends[1], least + width)
    return least, most


def _texts(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    least, most = _length(constraints, 1, 40)
    words = chance.among(rows, pl.Series(WORDS))
    texts = words + "-" + chance.ints(rows, 0, 10**9 - 1).cast(pl.String)
    return texts.str.pad_end(least, "x").str.head(most)


def _ints(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    return chance.ints(rows, *_bounds(constraints, (0, 1_000_000), 1))


def _floats(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    least, most = _bounds(constraints, (0.0, 1000.0), 0.0)
    parts = chance.ints(rows, 1, 2**53 - 1).cast(pl.Float64) / 2.0**53
    return parts * float(most - least) + float(least)


def _bools(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    return chance.ints(rows, 0, 1) > 0


def _decimals(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    assert isinstance(type, DecimalType)  # noqa: S101
    scale = 10**type.scale
    most = min(10**type.precision - 1, 1000 * scale, 10**18)
    least, most = _bounds(constraints, (Decimal(0), Decimal(most) / scale), Decimal(1) / scale)
    units = chance.ints(rows, int(least * scale), int(most * scale))
    minus = pl.when(pl.lit(units) < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    digits = pl.lit(units.abs().cast(pl.String).str.zfill(type.scale + 1))
    if not type.scale:
        return pl.select(minus + digits).to_series()
    point = digits.str.head(-type.scale) + "." + digits.str.tail(type.scale)
    return pl.select(minus + point).to_series()


def _dates(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    day = timedelta(days=1)
    ends = _bounds(constraints, (FIRST.date(), LAST.date()), day)
    return chance.ints(rows, *((end - EPOCH.date()) // day for end in ends)).cast(pl.Int32)


def _datetimes(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    ends = _bounds(constraints, (FIRST, LAST), MICROSECOND)
    return chance.ints(rows, *((end - EPOCH) // MICROSECOND for end in ends))


def _uuids(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    digits = chance.raw(rows, pa.binary(16)).bin.encode("hex")
    parts = [digits.str.slice(start, size) for start, size in ((0, 8), (8, 4), (13, 3), (17, 3))]
    return parts[0] + "-" + parts[1] + "-4" + parts[2] + "-a" + parts[3] + "-" + digits.str.tail(12)


def _choices(type: Type, constraints: Constraints, rows: int, chance: Chance) -> pl.Series:
    assert isinstance(type, ChoiceType)  # noqa: S101
    return chance.among(rows, pl.Series(type.values))


_SCALARS: dict[str, Callable[[Type, Constraints, int, Chance], pl.Series]] = {
    "str": _texts,
    "text": _texts,
    BytesType.kind: _texts,
    IntType.kind: _ints,
    FloatType.kind: _floats,
    "bool": _bools,
    DecimalType.kind: _decimals,
    DateType.kind: _dates,
    DatetimeType.kind: _datetimes,
    UuidType.kind: _uuids,
    ChoiceType.kind: _choices,
}
