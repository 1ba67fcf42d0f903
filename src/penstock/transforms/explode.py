"""`Stream.explode`: a row for each element of a list."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from penstock.contract import ContractSpec
from penstock.contract.types import ListType
from penstock.records import Cause
from penstock.site import Site

BITS = 20
"""A row's index in its record has this many bits for each level of explode."""

MOST = 1 << BITS
"""A list with this many elements or more is a dead letter."""


@dataclass(frozen=True)
class Exploded:
    """What came of a frame.

    Args:
        rows: A row for each element.
        parents: For each row the row number that it came from.
        children: For each row its number in the list.
        failures: Row numbers whose list is too long, and why.
    """

    rows: pl.DataFrame
    parents: pl.Series
    children: pl.Series
    failures: list[tuple[int, Cause]]


@dataclass(frozen=True, eq=False)
class Explode:
    """Makes a row of each element of `field`; an empty list or null gives none.

    Raises:
        DeclarationError: There is no such list, or the contracts differ elsewhere.
    """

    site: Site
    input: ContractSpec
    output: ContractSpec
    field: str

    def __post_init__(self) -> None:
        before = {field.name: field for field in self.input.fields}
        after = {field.name: field for field in self.output.fields}
        if self.field not in before:
            raise self._error(f"{self.input.name} has no such field; it has {', '.join(before)}")
        listed = before[self.field].type
        if not isinstance(listed, ListType):
            raise self._error(f"the field is {listed.words}, only a list can be exploded")
        if set(before) != set(after):
            name = sorted(set(before) ^ set(after))[0]
            raise self._error(
                f"{self.input.name} and {self.output.name} must have the same fields, "
                f"but {name!r} is in only one of them; change others by a .map() after it"
            )
        for name, field in after.items():
            nullable = before[name].nullable
            type_ = before[name].type
            if name == self.field:
                type_, nullable = listed.element, listed.nullable
            if field.type != type_:
                raise self._error(f"{self.output.name}.{name} must be {type_.words}")
            if nullable and not field.nullable:
                raise self._error(f"{self.output.name}.{name} may be null: add `| None`")

    def apply(self, rows: pl.DataFrame) -> Exploded:
        """Take the lists of a frame apart."""
        numbered = rows.with_row_index("_parent").with_columns(
            _length=pl.col(self.field).list.len().fill_null(0)
        )
        long = numbered.filter(pl.col("_length") >= MOST)
        apart = (
            numbered.filter(pl.col("_length").is_between(1, MOST - 1))
            .with_columns(_child=pl.int_ranges(0, pl.col("_length"), dtype=pl.Int64))
            .explode(self.field, "_child")
        )
        failures = [
            (
                row,
                Cause("explode", f"the list has {MOST} elements or more", self.field, str(length)),
            )
            for row, length in long.select("_parent", "_length").iter_rows()
        ]
        return Exploded(
            apart.select(self.output.polars.names()), apart["_parent"], apart["_child"], failures
        )

    def _error(self, message: str) -> Exception:
        return self.site.error(f"explode({self.field!r}, {self.output.name}): {message}")
