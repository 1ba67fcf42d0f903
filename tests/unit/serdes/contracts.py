"""Contracts and values that the tests of codecs share."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import penstock as ps


class Line(ps.Contract):
    sku: str
    count: int
    price: Annotated[Decimal, ps.Digits(12, 2)] | None


class Everything(ps.Contract):
    id: UUID = ps.key()
    name: Annotated[str, ps.Length(0, 40)]
    note: ps.Text | None
    age: Annotated[int, ps.Range(ge=0)]
    score: float
    good: bool
    price: Annotated[Decimal, ps.Digits(38, 9)]
    day: date
    at: datetime
    raw: Annotated[bytes | None, ps.Name("raw-bytes")]
    size: Literal["small", "large"]
    colour: Literal["red", "sky blue"] | None
    tags: list[str | None]
    grid: list[list[int]]
    lines: list[Line] | None
    best: Line
    last: Line | None
    seen: datetime = ps.born()
