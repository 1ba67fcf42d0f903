"""A source of changes that is polled and landed again and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.shop import Shop, land

from penstock.errors import Refused
from penstock.interfaces import Cursor, Response
from penstock.sources.postgresql.changes import PostgresChanges


class Follower:
    """A source and where it stands."""

    def __init__(self, shop: Shop, **options: Any) -> None:
        given = {"table": "orders", "publication": "shop", **options}
        self.make: Callable[[], PostgresChanges] = lambda: PostgresChanges(shop.url, **given)
        self.cursor: Cursor = None
        self.headers: list[dict[str, str]] = []

    def take(self) -> list[dict[str, Any]]:
        """Land what there is."""
        return self.lines(land(self.make(), self.cursor))

    def lines(self, responses: list[Response]) -> list[dict[str, Any]]:
        if responses:
            self.cursor = json.loads(json.dumps(responses[-1].cursor))
        self.headers += [dict(r.headers) for r in responses if r.headers]
        return [json.loads(line) for r in responses for line in r.body.splitlines()]

    def refused(self) -> str:
        with pytest.raises(Refused) as caught:
            self.take()
        return str(caught.value)


def brief(lines: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(line["op"], line["key"]["id"]) for line in lines]
