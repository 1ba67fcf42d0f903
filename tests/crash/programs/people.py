"""Made-up people, from a source through a topic into three tables; some records are dead."""

import polars as pl

import penstock as ps


class Person(ps.Contract):
    number: int
    name: str


class User(ps.Contract):
    id: int = ps.key()
    name: str


def to_user(people: pl.DataFrame) -> pl.DataFrame:
    """Give one of seven people an id that is no id."""
    number = pl.col("number").abs() % 1000
    wrong = pl.when(number % 7 == 0).then(None).otherwise(number)
    return people.select(id=wrong, name="name")


pipeline = ps.Pipeline("people")
source = ps.Generator(Person, rows=4_000, batch=20)
users = pipeline.source(source, Person, land="raw").map(to_user, User).topic("users", partitions=2)
users.sink("users", store="warehouse")
users.sink("users", store="serving")
users.filter(pl.col("id") % 2 == 0).sink("even", store="warehouse", mode="append")
