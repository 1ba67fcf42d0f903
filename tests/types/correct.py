"""A program as users write it; it must type-check and compile."""

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import polars as pl

import penstock as ps
from penstock import testing


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Address(ps.Contract):
    postcode: ps.Text
    class_: Annotated[str | None, ps.Name("class")]


class Person(ps.Contract):
    login: UUID
    name: Annotated[str, ps.Length(1, 80)]
    age: Annotated[int, ps.Range(ge=0, lt=150)]
    weight: float | None
    price: Annotated[Decimal, ps.Digits(12, 2)]
    level: Level
    gender: Literal["female", "male"]
    home: Address
    tags: list[str]
    since: date
    picture: bytes
    even: Annotated[int, ps.Check(lambda n: n % 2 == 0, "even")]


class User(ps.Contract):
    id: UUID = ps.key()
    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
    kind: Annotated[str, ps.OneOf("a", "b")]
    tags: list[str]
    date_added: datetime = ps.born()


class Tagged(ps.Contract):
    id: UUID = ps.key()
    email: str
    kind: str
    tags: str
    date_added: datetime = ps.born()


def to_user(people: pl.DataFrame) -> pl.DataFrame:
    return people.select(
        "tags", id="login", email=pl.col("name") + pl.lit("@example.com"), kind=pl.lit("a")
    )


pipeline = ps.Pipeline("users")
people = pipeline.source(
    ps.Http(ps.env("USERS_API"), records="results", every="1m"),
    Person,
    land="raw_users",
    retention=ps.Retention(age="7d", size="10GB"),
)
users = people.map(to_user, User).topic("users_created", partitions=4)
users.sink("created_users", store="warehouse")
users.filter(pl.col("kind") == "a").sink("a_users", store="serving", mode="append")
users.explode("tags", Tagged).topic("tags", key=("id", "tags")).sink("tags", store="warehouse")
orders = pipeline.topic("orders", User, key="id")
orders.sink("orders", store="warehouse", mode="upsert")


def check() -> list[str]:
    result = testing.run(pipeline, {"raw_users": [{"name": "Ada"}, b"junk"]})
    rows = testing.check_map(to_user, Person, User)
    return [*(str(row["id"]) for row in result["created_users"]), *rows["id"]]
