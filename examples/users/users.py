"""People from an HTTP API, landed as they come, in a topic, and in tables of two stores.

    penstock check users.py
    penstock run users.py

Settings, all by environment: `USERS_API` (the address), `USERS_EVERY` (how often it is polled),
`KAFKA_TOPIC` and `USERS_PARTITIONS` (the topic's name and number of partitions).
"""

import os
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import polars as pl

import penstock as ps

Email = Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
Gender = Literal["female", "male"]


class Login(ps.Contract):
    uuid: UUID
    username: str


class Name(ps.Contract):
    first: str
    last: str


class Street(ps.Contract):
    number: int
    name: str


class Location(ps.Contract):
    street: Street
    city: str
    state: str
    country: str
    postcode: ps.Text  # a number in some countries, a string in others


class Event(ps.Contract):
    date: datetime


class Picture(ps.Contract):
    medium: str


class Person(ps.Contract):
    """What the API sends; the fields that are not named here are ignored."""

    gender: Gender
    name: Name
    location: Location
    email: Email
    login: Login
    dob: Event
    registered: Event
    phone: str
    picture: Picture


class User(ps.Contract):
    """What the topic and the tables hold."""

    id: UUID = ps.key()
    first_name: str
    last_name: str
    gender: Gender
    address: str
    post_code: str
    email: Email
    username: str
    dob: datetime
    registered_date: datetime
    phone: str
    picture: str
    date_added: datetime = ps.born()


def to_user(people: pl.DataFrame) -> pl.DataFrame:
    """Flatten the API's person."""
    login, name = pl.col("login").struct, pl.col("name").struct
    location = pl.col("location").struct
    street = location["street"].struct
    return people.select(
        id=login["uuid"],
        first_name=name["first"],
        last_name=name["last"],
        gender="gender",
        address=pl.format(
            "{} {}, {}, {}, {}",
            street["number"],
            street["name"],
            location["city"],
            location["state"],
            location["country"],
        ),
        post_code=location["postcode"],
        email="email",
        username=login["username"],
        dob=pl.col("dob").struct["date"],
        registered_date=pl.col("registered").struct["date"],
        phone="phone",
        picture=pl.col("picture").struct["medium"],
    )


pipeline = ps.Pipeline("users")
people = pipeline.source(
    ps.Http(ps.env("USERS_API"), records="results", every=os.environ.get("USERS_EVERY", "1m")),
    Person,
    land="raw_users",
)
users = people.map(to_user, User).topic(
    os.environ.get("KAFKA_TOPIC", "users_created"),
    partitions=int(os.environ.get("USERS_PARTITIONS", "2")),
)
users.sink("created_users", store="warehouse")
users.sink("created_users", store="serving")
users.filter(pl.col("gender") == "female").sink("women", store="warehouse")
