"""What transforms have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl

    from penstock.contract import ContractSpec
    from penstock.site import Site


class Transform(Protocol):
    """A step from rows of one contract to rows of another."""

    @property
    def site(self) -> Site:
        """Where it was declared."""

    @property
    def input(self) -> ContractSpec:
        """The contract of the rows that come in."""

    @property
    def output(self) -> ContractSpec:
        """The contract of the rows that go out."""


class Computation(Transform, Protocol):
    """A transform that runs the user's code: one result for each row, from this row alone."""

    @property
    def stage(self) -> str:
        """The stage of its dead letters: `map` or `filter`."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Compute the results of one or more rows, in their order.

        Raises:
            Misfit: The result is no frame of that height that fits.
            Exception: Whatever the user's code raises.
        """
