"""The contract of the records that every benchmark moves: types and three checks."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import penstock as ps


class User(ps.Contract):
    """A record of `benchmarks.records`."""

    id: UUID = ps.key()
    first_name: str
    last_name: str
    gender: Literal["female", "male"]
    address: str
    post_code: Annotated[str, ps.Length(1)]
    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
    username: str
    dob: datetime
    registered_date: datetime
    phone: str
    picture: str


class Person(ps.Contract):
    """The same with a key that is not named `id`, which one peer cannot hold."""

    uid: UUID = ps.key()
    first_name: str
    last_name: str
    gender: Literal["female", "male"]
    address: str
    post_code: Annotated[str, ps.Length(1)]
    email: Annotated[str, ps.Pattern(r"[^@\s]+@[^@\s]+")]
    username: str
    dob: datetime
    registered_date: datetime
    phone: str
    picture: str
