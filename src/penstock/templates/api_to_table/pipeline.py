"""Orders from an HTTP API into two tables.

Until ORDERS_API is set to the API's address, the orders in sample/ are read.
"""

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import polars as pl

import penstock as ps


class Customer(ps.Contract):
    name: str
    country: str | None


class ApiOrder(ps.Contract):
    """An order as the API sends it; fields that are not named here are ignored."""

    id: str
    customer: Customer
    total: Annotated[Decimal, ps.Digits(12, 2)]
    placed: datetime


class Order(ps.Contract):
    """An order as the topic and the tables hold it."""

    id: str = ps.key()
    customer: str
    country: str | None
    total: Annotated[Decimal, ps.Digits(12, 2)]
    placed: datetime


def to_order(orders: pl.DataFrame) -> pl.DataFrame:
    """Flatten the API's order."""
    return orders.select(
        "id",
        customer=pl.col("customer").struct["name"],
        country=pl.col("customer").struct["country"],
        total="total",
        placed="placed",
    )


pipeline = ps.Pipeline("@name@")
if os.environ.get("ORDERS_API"):
    # records= says where the list of orders lies in an answer: {"orders": [{"id": …}, …]}
    api = ps.Http(ps.env("ORDERS_API"), records="orders", every="1m")
    received = pipeline.source(api, ApiOrder, land="raw_orders")
else:
    sample = ps.Files(Path(__file__).with_name("sample"), every="1s")
    received = pipeline.source(sample, ApiOrder, land="raw_sample")

orders = received.map(to_order, Order).topic("orders")
orders.sink("orders", store="warehouse")
orders.filter(pl.col("total") >= 100).sink("large_orders", store="warehouse")
