"""`Stream.filter`: a condition that rows must meet."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from penstock.contract import ContractSpec
from penstock.site import Site

KEEP = "_keep"


@dataclass(frozen=True, eq=False)
class Filter:
    """Decides for each row whether it stays: where `condition` is true; null is false.

    Raises:
        DeclarationError: `condition` is no expression over the contract, or no condition.
    """

    site: Site
    input: ContractSpec
    condition: pl.Expr

    stage = "filter"
    name = "filter"

    def __post_init__(self) -> None:
        if not isinstance(self.condition, pl.Expr):
            raise self.site.error(
                f"filter takes a Polars expression, not {self.condition!r}: write "
                '`.filter(pl.col("age") >= 18)`'
            )
        try:
            dtype = pl.DataFrame(schema=self.input.polars).select(self.condition).dtypes
        except pl.exceptions.ColumnNotFoundError as error:
            missing = str(error).partition(";")[0].splitlines()[0]
            raise self.site.error(
                f"filter: {missing}; {self.input.name} has {', '.join(self.input.polars)}"
            ) from None
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError) as error:
            raise self.site.error(f"filter: the condition cannot be computed: {error}") from None
        if dtype != [pl.Boolean]:
            raise self.site.error(
                f"filter: the condition gives {', '.join(map(str, dtype)) or 'nothing'}, "
                "it must give one Boolean: compare with something"
            )

    @property
    def output(self) -> ContractSpec:
        """Rows stay as they are."""
        return self.input

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return one Boolean column, true for the rows that stay."""
        kept = rows.with_columns(self.condition.fill_null(False).alias(KEEP))
        return kept.select(KEEP)
