"""Payments from a topic that others write into two tables.

writer.py stands for the others until there are some: it fills the topic with made-up payments.
"""

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import polars as pl

import penstock as ps


class Payment(ps.Contract):
    """A payment as the topic holds it; fields that are not named here are ignored."""

    id: UUID = ps.key()
    account: str
    amount: Annotated[Decimal, ps.Digits(12, 2), ps.Range(ge=0)]
    currency: Literal["EUR", "GBP", "USD"]


pipeline = ps.Pipeline("@name@")
payments = pipeline.topic("payments", Payment)
payments.sink("payments", store="warehouse")
payments.filter(pl.col("currency") == "EUR").sink("euro_payments", store="warehouse")
