"""Every feature of a plan and every type of a contract in one pipeline."""

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import polars as pl

import penstock as ps


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(ps.Contract):
    city: str
    since: datetime | None
    codes: list[int | None]


class Everything(ps.Contract):
    id: UUID = ps.key()
    name: str
    gender: Literal["female", "male"]
    colour: Colour | None
    age: Annotated[int, ps.Range(ge=0)] | None
    price: Annotated[Decimal, ps.Digits(38, 9)]
    ok: bool
    ratio: float
    day: date
    at: datetime
    postcode: ps.Text
    blob: bytes | None
    tags: list[str]
    places: list[Place | None] | None
    home: Place | None
    class_: Annotated[str, ps.Name("class")]
    seen: datetime = ps.born()


class Tagged(ps.Contract):
    id: UUID
    tags: str
    at: datetime


class TaggedList(ps.Contract):
    id: UUID
    tags: list[str]
    at: datetime


class Person(ps.Contract):
    name: str = ps.key()
    age: Annotated[int, ps.Range(le=150)]
    double: Annotated[Decimal, ps.Digits(38, 9)]
    when: datetime


class Click(ps.Contract):
    number: int
    page: str
    items: list[int]


class Item(ps.Contract):
    number: int
    page: str
    items: int


class Page(ps.Contract):
    page: str = ps.key()
    number: int
    text: str
    first_seen: datetime = ps.born()


def to_person(rows: pl.DataFrame) -> pl.DataFrame:
    """Fail for one name, break the contract for others."""
    if (rows["name"] == "raise").any():
        raise ValueError("I do not like this name")
    return rows.select(
        "name",
        age=pl.when(pl.col("name") == "old").then(1000).otherwise("age"),
        double=pl.col("price") / 2,
        when="at",
    )


def to_page(rows: pl.DataFrame) -> pl.DataFrame:
    """Divide by a number that may be none."""
    seven = rows["number"] == 7
    if seven.any():
        raise ZeroDivisionError("seven")
    text = (
        pl.when(pl.col("number") == 11).then(pl.lit("a\0b")).otherwise(pl.col("page").str.reverse())
    )
    return rows.select("page", "number", text=text)


pipeline = ps.Pipeline("features")

# Others write this one, with a key: upserts, deletes, several lanes, a topic after a topic.
things = pipeline.topic("things", Everything)
things.sink("things", store="serving")
things.sink("all_things", store="warehouse", mode="append")
things.filter(pl.col("gender") == "female").sink("women", store="warehouse")
tagged = things.map(lambda rows: rows.select("id", "tags", "at"), TaggedList)
tagged.explode("tags", Tagged).sink("tagged", store="warehouse", mode="append")
people = things.map(to_person, Person).topic("people", partitions=2)
people.sink("people", store="serving")
people.sink("all_people", store="warehouse", mode="append")
people.filter(pl.col("age") > 30).topic("adults").sink("adults", store="warehouse")

# Others write this one without a key.
clicks = pipeline.topic("clicks", Click)
items = clicks.explode("items", Item).topic("items", partitions=3)
items.sink("items", store="warehouse")
clicks.filter(pl.col("items").list.len() > 1).sink("many", store="warehouse")

# A landing: responses that hold several records, then a topic with a key.
landed = pipeline.source(ps.Files(ps.env("CLICKS", "clicks")), Click, land="raw_clicks")
pages = landed.map(to_page, Page).topic("pages", partitions=2)
pages.sink("pages", store="serving")
pages.filter(pl.col("number") % 2 == 0).sink("even", store="warehouse", mode="append")
