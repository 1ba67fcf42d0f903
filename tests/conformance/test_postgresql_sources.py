"""PostgreSQL as a source keeps what a source promises."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.shop import Shop

from penstock.interfaces import Source
from penstock.sources.postgresql.changes import PostgresChanges
from penstock.sources.postgresql.incremental import Postgres
from penstock.testing.conformance import (
    RemoteSourceConformance,
    SourceConformance,
    SourceSystem,
)


class Rows(SourceSystem):
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        shop.orders(3)

    def source(self) -> Source:
        return Postgres(self._shop.url, table="orders", cursor="price", batch=1)

    def bodies(self) -> Sequence[bytes]:
        prices = ("0.25000000000000000000", "0.50000000000000000000", "0.75000000000000000000")
        return [
            b'{"id":%d,"item":"item %d","price":%b}\n' % (n, n, price.encode())
            for n, price in enumerate(prices, 1)
        ]

    def leave(self) -> None:
        self._shop.halt()


class Changes(Rows):
    def source(self) -> Source:
        return PostgresChanges(self._shop.url, table="orders", publication="shop", batch=1)

    def bodies(self) -> Sequence[bytes]:
        read = [
            b'{"op":"read","table":"public.orders","key":{"id":%d},"after":%b}\n'
            % (number, row.rstrip())
            for number, row in enumerate(super().bodies(), 1)
        ]
        return [b"", *read, b""]


class TestPostgres(SourceConformance, RemoteSourceConformance):
    @pytest.fixture
    def system(self, shop: Shop) -> SourceSystem:
        return Rows(shop)


class TestPostgresChanges(SourceConformance, RemoteSourceConformance):
    @pytest.fixture
    def system(self, shop: Shop) -> SourceSystem:
        return Changes(shop)
