"""What a cluster takes in one request, and the rows that are too large for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from penstock.errors import Rejected
from penstock.sinks.cassandra.session import Session
from penstock.sinks.cassandra.table import Table

LONGEST_KEY = 65_535
"""Bytes of a partition key, and of all clustering columns together."""

CELL = 16
"""What the server counts for a value beyond its bytes, and the protocol for its length."""

_HEAD = 256
_BATCH_ENOUGH = 64 * 1024
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)?")
_UNITS = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes.

    Args:
        batch: Of a batch of several rows; more is slower even where it is allowed.
        row: Of one row.
    """

    batch: int
    row: int


def read(session: Session) -> Limits:
    """Ask the cluster; its defaults stand for what it does not tell."""
    batch = _size(session.setting("batch_size_fail_threshold"), 50 << 10)
    mutation = _size(session.setting("max_mutation_size"), 16 << 20)
    frame = _size(session.setting("native_transport_max_frame_size"), 16 << 20)
    return Limits(min(batch * 15 // 16, _BATCH_ENOUGH), min(mutation, frame))


def unfit(table: Table, rows: pl.DataFrame, limits: Limits) -> list[tuple[int, Rejected]]:
    """Find the rows that the cluster would refuse, without asking it.

    Args:
        table: Where they go.
        rows: Rows that went through `columns.flat`.
        limits: What the cluster takes.

    Returns:
        Row numbers and reasons, in order.
    """
    found = dict(reversed(list(_reasons(table, rows, limits))))
    return [(number, Rejected(words, code="size")) for number, words in sorted(found.items())]


def _reasons(table: Table, rows: pl.DataFrame, limits: Limits) -> Iterator[tuple[int, str]]:
    partition, clustering = _bytes(rows, table.partition), _bytes(rows, table.clustering)
    if len(table.partition) > 1:
        partition = partition + 3 * len(table.partition)
    every = _bytes(rows, [c.name for c in table.columns])
    total = every + CELL * len(table.columns) + _HEAD
    names = ", ".join(table.partition)
    for at in _where(partition == 0):
        yield at, f"Cassandra takes no empty partition key, but {names} is empty"
    for at in _where(partition > LONGEST_KEY):
        yield at, f"the partition key ({names}) has more than {LONGEST_KEY} bytes"
    for at in _where(clustering > LONGEST_KEY):
        names = ", ".join(table.clustering)
        yield at, f"the clustering columns ({names}) have more than {LONGEST_KEY} bytes"
    for at in _where(total > limits.row):
        yield at, f"the row has more than the {limits.row} bytes that the cluster takes at once"


def _bytes(rows: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """Add up the bytes of each row's values; a fixed width counts as 16."""
    sizes = [pl.lit(0, pl.Int64)]
    for name in names:
        dtype = rows.schema[name]
        column = pl.col(name)
        if dtype == pl.String:
            sizes.append(column.str.len_bytes().cast(pl.Int64))
        elif dtype == pl.Binary:
            sizes.append(column.bin.size().cast(pl.Int64))
        else:
            sizes.append(pl.lit(16, pl.Int64))
    return rows.select(
        pl.repeat(0, pl.len(), dtype=pl.Int64) + pl.sum_horizontal(sizes)
    ).to_series()


def _where(flags: pl.Series) -> list[int]:
    return flags.arg_true().to_list()


def _size(text: str | None, default: int) -> int:
    match = _SIZE.fullmatch(text or "")
    return int(match[1]) * _UNITS[match[2]] if match and int(match[1]) > 0 else default
