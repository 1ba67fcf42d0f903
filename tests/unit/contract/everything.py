"""A contract with every type, shared by the tests."""

from __future__ import annotations

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import penstock.contract as ps


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Login(ps.Contract):
    uuid: UUID
    note: str | None
    when: datetime | None


class Everything(ps.Contract):
    id: UUID = ps.key()
    name: str
    gender: Literal["female", "male"]
    color: Color | None
    age: int | None
    price: Annotated[Decimal, ps.Digits(12, 2)]
    ok: bool
    ratio: float
    day: date
    at: datetime
    postcode: ps.Text
    blob: bytes | None
    tags: list[str]
    logins: list[Login | None] | None
    login: Login | None
    class_: Annotated[str, ps.Name("class")]
    date_added: datetime = ps.born()


GOOD = {
    "id": '"1b4e28ba-2fa1-11d2-883f-0016d3cca427"',
    "name": '"Ana"',
    "gender": '"female"',
    "color": '"red"',
    "age": "7",
    "price": '"12.50"',
    "ok": "true",
    "ratio": "0.5",
    "day": '"2026-11-20"',
    "at": '"2026-11-20T18:30:00.5Z"',
    "postcode": '"007"',
    "blob": '"YQ=="',
    "tags": '["a","b"]',
    "logins": "[null]",
    "login": '{"uuid":"1b4e28ba-2fa1-11d2-883f-0016d3cca427","note":null,"when":null}',
    "class": '"x"',
    "date_added": '"2026-11-20T18:30:00+02:00"',
}
"""The literals of a document that fits."""


def document(**literals: str | None) -> bytes:
    """Write a good document with some literals replaced, or left out where None."""
    merged = {**GOOD, **literals}
    pairs = (f'"{name}":{literal}' for name, literal in merged.items() if literal is not None)
    return ("{" + ",".join(pairs) + "}").encode()
