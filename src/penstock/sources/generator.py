"""The `Generator` source: made-up records that fit a contract, for trying out and measuring.

Guarantee: the same seed gives the same records, and a cursor goes on where it stood: after a
crash the records that were not landed come again, the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING

from penstock.contract import Contract, ContractSpec, encode, spec, synthetic
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.sources.declared import require
from penstock.sources.pace import Pace

if TYPE_CHECKING:
    import polars as pl

_BLOCK = 4000
_RESPONSES_PER_SECOND = 100


class Generator:
    """Make up records.

    Args:
        contract: What the records fit. Its `born()` field is left to the pipeline.
        rows: How many; None for no end.
        rate: Records per second; None for as fast as they are taken.
        seed: Another seed gives other records.
        batch: Records in one response at most. At a rate, a response holds as few as give a
            hundred responses per second.

    Example:
        `ps.Generator(Order, rate=1000, seed=7)`
    """

    framing = Framing(many=True)
    every = None

    def __init__(
        self,
        contract: type[Contract],
        *,
        rows: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        batch: int = 1000,
    ) -> None:
        require(rows is None or rows >= 0, f"rows={rows} is less than none")
        require(rate is None or rate > 0, f"rate={rate} would give nothing; None is without limit")
        require(batch >= 1, f"batch={batch} would give nothing")
        self._records = Records(spec(contract), seed)
        self._rows = rows
        self._rate = rate
        self._batch = batch if rate is None else _share(rate, batch)

    def describe(self) -> str:
        many = "endless" if self._rows is None else f"{self._rows:,}"
        pace = "" if self._rate is None else f" at {self._rate:,g}/s"
        return f"generator of {many} {self._records.name}{pace}"

    def check(self) -> None:
        self._records.take(0, 1)

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        row = cursor["row"] if cursor else 0
        pace = None if self._rate is None else Pace(self._rate, burst=1.0)
        while self._rows is None or row < self._rows:
            left = self._batch if self._rows is None else self._rows - row
            documents = self._records.take(row, min(self._batch, left))
            if pace is not None:
                pace.take(clock, len(documents))
            row += len(documents)
            yield Response(b"[" + b",".join(documents) + b"]", {"row": row})


class Records:
    """Numbered made-up records. Making up is slow, so only keys are made up for each record.

    The other columns come from one made-up block, each turned by an amount of its own.

    Args:
        contract: What the records fit.
        seed: Chooses the records.
    """

    def __init__(self, contract: ContractSpec, seed: int) -> None:
        given = [field.name for field in contract.fields if not field.is_born]
        self.name = contract.name
        self._spec = contract.only(given)
        self._key = contract.only(contract.key)
        self._seed = seed
        self._documents = lru_cache(maxsize=2)(self._encoded)
        self._pool: pl.DataFrame | None = None

    def take(self, row: int, count: int) -> list[bytes]:
        """Up to `count` records from number `row` on, at least one."""
        block, start = divmod(row, _BLOCK)
        return self._documents(block)[start : start + count]

    def _encoded(self, block: int) -> list[bytes]:
        if self._pool is None:
            self._pool = synthetic(self._spec, _BLOCK, self._seed)
        random = Random(f"{self._seed}/{block}")  # noqa: S311 - made up, not secret
        rows = self._pool.select(_turned(column, random.randrange(_BLOCK)) for column in self._pool)
        if self._key.fields:
            rows = rows.with_columns(synthetic(self._key, _BLOCK, random.getrandbits(63)))
        documents: list[bytes] = encode(self._spec, rows).to_list()
        return documents


def _turned(column: pl.Series, by: int) -> pl.Series:
    return column[by:].append(column[:by])


def _share(rate: float, batch: int) -> int:
    return min(max(math.ceil(rate / _RESPONSES_PER_SECOND), 1), batch)
