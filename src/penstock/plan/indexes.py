"""Indexes of the rows that one log record gives, level by level of explode.

An element of a record with many has its number; child `c` of row `p` has `(p + 1) << 20 | c`.
With fewer than 2**20 elements at each level, an index tells its level and its ancestors.
"""

from __future__ import annotations

import polars as pl

from penstock.records import WHOLE
from penstock.transforms.explode import BITS, MOST

DEEPEST = 2
"""How many levels of explode fit into 64 bits."""

_FIRST = (MOST, (MOST + 1) << BITS)
"""The least index of the levels 1 and 2."""


def of_children(parents: pl.Series, children: pl.Series) -> pl.Series:
    """Number the rows that an explode made, from their parents' indexes and their numbers."""
    return ((parents + 1) * MOST + children).alias("_index")


def level(index: int) -> int:
    """How often rows with this index were exploded; -1 of a record as a whole."""
    if index == WHOLE:
        return -1
    return sum(index >= first for first in _FIRST)


def root(target: pl.Expr) -> pl.Expr:
    """Return the index that a row's oldest ancestor has in its record; `WHOLE` stays."""
    return (
        pl.when(target < _FIRST[0])
        .then(target)
        .when(target < _FIRST[1])
        .then(_ancestor(target, 1))
        .otherwise(_ancestor(target, 2))
    )


def related(row: pl.Expr, depth: int, target: pl.Expr) -> pl.Expr:
    """Whether a row of this depth is `target`, or an ancestor or a descendant of it.

    Args:
        row: The row's index.
        depth: How often it was exploded; its own ancestors are related to the target.
        target: An index, or `WHOLE`.
    """
    same = pl.lit(False)
    for deeper in range(DEEPEST + 1 - depth):
        at_depth = target >= 0 if not depth + deeper else target >= _FIRST[depth + deeper - 1]
        if depth + deeper < DEEPEST:
            at_depth &= target < _FIRST[depth + deeper]
        same |= at_depth & (_ancestor(target, deeper) == row)
    above = target < _FIRST[depth - 1] if depth else pl.lit(False)
    return (target == WHOLE) | above | same


def _ancestor(index: pl.Expr, steps: int) -> pl.Expr:
    for _ in range(steps):
        index = index // MOST - 1
    return index
