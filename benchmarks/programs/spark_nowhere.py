"""A topic that others write, decoded, checked and mapped, and no row of it written."""

import os

import polars as pl
from user import Person

import penstock as ps


def lower(people: pl.DataFrame) -> pl.DataFrame:
    """Write addresses of mail in lower case."""
    return people.with_columns(pl.col("email").str.to_lowercase())


pipeline = ps.Pipeline("spark_nowhere")
people = pipeline.topic(os.environ.get("TOPIC", "people"), Person).map(lower, Person)
people.filter(pl.col("email") == "nobody").sink("nobody", store="warehouse")
