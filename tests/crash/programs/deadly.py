"""A map that kills the process at one record."""

import os

import polars as pl

import penstock as ps


class Person(ps.Contract):
    number: int
    name: str


def deadly(people: pl.DataFrame) -> pl.DataFrame:
    """Die of the record that the environment names."""
    if os.environ.get("DEADLY") in set(people["name"]):
        os._exit(9)
    return people


pipeline = ps.Pipeline("deadly")
people = pipeline.source(ps.Files(os.environ.get("PEOPLE", "people.ndjson")), Person, land="raw")
people.map(deadly, Person).sink("people", store="warehouse", mode="append")
