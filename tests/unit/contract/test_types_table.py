"""The table of types in the docs is true."""

from __future__ import annotations

import tempfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import duckdb
import polars as pl
import pytest

import penstock.contract as ps
from penstock.contract import ContractSpec
from penstock.sinks.cassandra.columns import column_type as cql_type
from penstock.sinks.files.formats import POSITION, Format
from penstock.sinks.files.settings import Settings
from penstock.sinks.postgresql.columns import column_type

DOCS = Path(__file__).parents[3] / "docs/reference/types.md"


class Other(ps.Contract):
    a: int


TYPES: dict[str, Any] = {
    "`str`": str,
    "`ps.Text`": ps.Text,
    "`UUID`": UUID,
    "`int`": int,
    "`float`": float,
    "`bool`": bool,
    "`Annotated[Decimal, ps.Digits(12, 2)]`": Annotated[Decimal, ps.Digits(12, 2)],
    "`date`": date,
    "`datetime`": datetime,
    "`bytes`": bytes,
    '`Literal["a", "b"]`': Literal["a", "b"],
    "`list[int]`": list[int],
    "another contract": Other,
}


def rows() -> list[list[str]]:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.replace(r"\|", "¦").strip("|").split("|")]
        for line in lines
        if line.startswith("|") and not line.startswith("|---")
    ][1:]


def test_the_table_has_every_type() -> None:
    assert [row[0] for row in rows()] == list(TYPES)


def schema_words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "`enum`"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = ", ".join(f"`{name}`" for name in types)
    if "format" in schema:
        words += f", format `{schema['format']}`"
    return words + (", base64" if "contentEncoding" in schema else "")


def parquet_type(spec: ContractSpec) -> str:
    """What DuckDB finds in a file that the sink would write."""
    made = {**spec.polars, **POSITION}
    rows = pl.DataFrame({name: [None] for name in made}, schema=made)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(Format(spec, Settings()).encode(rows))
        file.flush()
        with duckdb.connect() as session:
            found = session.execute(f"DESCRIBE SELECT a FROM '{file.name}'").fetchall()
    return str(found[0][1])


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_says_what_the_code_does(row: list[str]) -> None:
    made = type("Made", (ps.Contract,), {"__annotations__": {"a": TYPES[row[0]]}})
    spec = ps.spec(made)
    assert row[1] == f"`{spec.polars['a']!r}`"
    assert row[2] == f"`{spec.arrow.field('a').type}`"
    assert row[5] == f"`{column_type(spec.fields[0].type)}`"
    assert row[6] == f"`{cql_type(spec.fields[0].type)}`"
    assert row[7] == f"`{parquet_type(spec)}`"
    assert row[4] == schema_words(spec.json_schema()["properties"]["a"])
