"""Makes up rows that fit a contract, the same ones for the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import polars as pl

from penstock.contract.checks import validate
from penstock.contract.constraints import Constraint, Length, OneOf, Pattern, Range
from penstock.contract.regexes import matching
from penstock.contract.spec import ContractSpec
from penstock.contract.types import (
    BoolType,
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
    StrType,
    Type,
    UuidType,
)

WORDS = ("amber", "brook", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "juniper")
FIRST = datetime(2020, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROUNDS = 8


def synthetic(spec: ContractSpec, rows: int, seed: int = 0) -> pl.DataFrame:
    """Make up rows that fit the contract; keys hardly ever repeat.

    A value that a `Check` refuses is drawn again a few times; if the rule is too rare to be
    met by chance, rows that break it remain.

    Args:
        spec: The contract.
        rows: How many.
        seed: The same seed gives the same rows.
    """
    random = Random(seed)  # noqa: S311
    good = pl.DataFrame(schema=spec.polars)
    for _ in range(ROUNDS):
        frame = _frame(spec, rows, random)
        bad = [row for row, _ in validate(spec, frame)]
        kept = frame.with_row_index("_n").filter(~pl.col("_n").is_in(bad)).drop("_n")
        good = pl.concat([good, kept.head(rows - len(good))])
        if len(good) == rows:
            return good
    return pl.concat([good, frame.head(rows - len(good))])


def _frame(spec: ContractSpec, rows: int, random: Random) -> pl.DataFrame:
    columns = {f.name: _values(f, rows, random) for f in spec.fields}
    return pl.DataFrame(columns, schema=spec.polars)


def _values(field: Field, rows: int, random: Random) -> list[Any]:
    values = _column(field.type, field.constraints, rows, random)
    if not field.nullable:
        return values
    return [None if random.random() < 0.125 else value for value in values]


def _column(
    type: Type, constraints: tuple[Constraint, ...], rows: int, random: Random
) -> list[Any]:
    for constraint in constraints:
        if isinstance(constraint, OneOf):
            return random.choices(constraint.values, k=rows)
        if isinstance(constraint, Pattern):
            return [matching(constraint.regex, random) for _ in range(rows)]
    if isinstance(type, ListType):
        least, most = _length(constraints, 0, 3)
        return [
            _column(type.element, type.constraints, random.randint(least, most), random)
            for _ in range(rows)
        ]
    if isinstance(type, NestedType):
        columns = [_values(f, rows, random) for f in type.fields]
        names = [f.name for f in type.fields]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    if isinstance(type, (StrType, BytesType)):
        return _texts(type, constraints, rows, random)
    return _SCALARS[type.kind](type, constraints, rows, random)


def _texts(type: Type, constraints: tuple[Constraint, ...], rows: int, random: Random) -> list[Any]:
    least, most = _length(constraints, 1, 40)
    words = random.choices(WORDS, k=rows)
    numbers = random.choices(range(10**9), k=rows)
    texts = [f"{w}-{n}".ljust(least, "x")[:most] for w, n in zip(words, numbers, strict=True)]
    return [text.encode() for text in texts] if isinstance(type, BytesType) else texts


def _length(constraints: tuple[Constraint, ...], least: int, most: int) -> tuple[int, int]:
    for constraint in constraints:
        if isinstance(constraint, Length):
            least = max(least, constraint.min)
            most = max(most, least) if constraint.max is None else constraint.max
    return min(least, most), most


def _bounds(
    constraints: tuple[Constraint, ...], ends: tuple[Any, Any], step: Any
) -> tuple[Any, Any]:
    """The least and the greatest value that the ranges allow, by default `ends`."""
    least, most = None, None
    for bounds in (c.bounds for c in constraints if isinstance(c, Range)):
        lows = [bounds[k] + (step if k == "gt" else 0 * step) for k in ("ge", "gt") if k in bounds]
        highs = [bounds[k] - (step if k == "lt" else 0 * step) for k in ("le", "lt") if k in bounds]
        least = max([*lows, *([] if least is None else [least])], default=None)
        most = min([*highs, *([] if most is None else [most])], default=None)
    width = ends[1] - ends[0]
    if least is None:
        least = ends[0] if most is None or ends[0] <= most else most - width
    if most is None:
        most = ends[1] if ends[1] >= least else least + width
    return least, most


Constraints = tuple[Constraint, ...]


def _ints(type: Type, constraints: Constraints, rows: int, random: Random) -> list[int]:
    least, most = _bounds(constraints, (0, 1_000_000), 1)
    return [random.randint(least, most) for _ in range(rows)]


def _floats(type: Type, constraints: Constraints, rows: int, random: Random) -> list[float]:
    least, most = _bounds(constraints, (0.0, 1000.0), math.ulp(1.0))
    return [random.uniform(least, most) for _ in range(rows)]


def _bools(type: Type, constraints: Constraints, rows: int, random: Random) -> list[bool]:
    return random.choices((True, False), k=rows)


def _decimals(type: Type, constraints: Constraints, rows: int, random: Random) -> list[Decimal]:
    assert isinstance(type, DecimalType)  # noqa: S101
    unit = Decimal(1).scaleb(-type.scale)
    ends = (Decimal(0), min(10 ** (type.precision - type.scale) - unit, Decimal(1000)))
    least, most = _bounds(constraints, ends, unit)
    return [unit * random.randint(int(least / unit), int(most / unit)) for _ in range(rows)]


def _dates(type: Type, constraints: Constraints, rows: int, random: Random) -> list[date]:
    least, most = _bounds(constraints, (FIRST.date(), date(2029, 12, 31)), timedelta(days=1))
    return [
        date.fromordinal(random.randint(least.toordinal(), most.toordinal())) for _ in range(rows)
    ]


def _datetimes(type: Type, constraints: Constraints, rows: int, random: Random) -> list[datetime]:
    ends = (FIRST, FIRST + timedelta(days=3650))
    least, most = _bounds(constraints, ends, MICROSECOND)
    width = (most - least) // MICROSECOND
    return [least + random.randint(0, width) * MICROSECOND for _ in range(rows)]


def _uuids(type: Type, constraints: Constraints, rows: int, random: Random) -> list[str]:
    return [str(UUID(int=random.getrandbits(128), version=4)) for _ in range(rows)]


def _choices(type: Type, constraints: Constraints, rows: int, random: Random) -> list[str]:
    assert isinstance(type, ChoiceType)  # noqa: S101
    return random.choices(type.values, k=rows)


_SCALARS: dict[str, Callable[[Type, Constraints, int, Random], list[Any]]] = {
    IntType.kind: _ints,
    FloatType.kind: _floats,
    BoolType.kind: _bools,
    DecimalType.kind: _decimals,
    DateType.kind: _dates,
    DatetimeType.kind: _datetimes,
    UuidType.kind: _uuids,
    ChoiceType.kind: _choices,
}
