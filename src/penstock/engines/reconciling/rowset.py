"""Two large sets of rows compared in bounded memory: fingerprints, spilled to disk in buckets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl

BUCKETS = 64
_KEEP = 1_000_000
"""Fingerprints held in memory before they are spilled."""

SCHEMA = pl.Schema(
    {
        "key": pl.UInt64,
        "value": pl.UInt64,
        "order": pl.Int64,
        "partition": pl.Int32,
        "offset": pl.Int64,
        "index": pl.Int64,
        "deleted": pl.Boolean,
        "loose": pl.Boolean,
    }
)
"""A row's fingerprint: hashes of its key and its values, where it comes from, whether it deletes,
and whether its values may differ (they were made by other code)."""


class RowSet:
    """Fingerprints of rows; use it as a context manager, it may own a folder.

    Args:
        schema: Of a fingerprint; `key` is a hash.
    """

    def __init__(self, schema: pl.Schema = SCHEMA) -> None:
        self._schema = schema
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._spills = 0
        self.rows = 0

    def __enter__(self) -> RowSet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: pl.DataFrame) -> None:
        """Add fingerprints of the set's schema."""
        self._frames.append(rows)
        self._held += rows.height
        self.rows += rows.height
        if self._held > _KEEP:
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="penstock-reconcile-")
        bucketed = pl.concat(self._frames).with_columns((pl.col("key") % BUCKETS).alias("bucket"))
        for (bucket,), part in bucketed.partition_by(
            "bucket", as_dict=True, include_key=False
        ).items():
            part.write_ipc(Path(self._folder.name) / f"{bucket}-{self._spills}.arrow")
        self._spills += 1
        self._frames, self._held = [], 0

    def bucket(self, number: int) -> pl.DataFrame:
        """All fingerprints of one bucket; the same keys are in the same bucket of every set."""
        parts = [self._schema.to_frame()]
        parts += [frame.filter(pl.col("key") % BUCKETS == number) for frame in self._frames]
        if self._folder is not None:
            files = sorted(Path(self._folder.name).glob(f"{number}-*.arrow"))
            parts += [pl.read_ipc(file) for file in files]
        return pl.concat(parts)


def differences(expected: RowSet, found: RowSet) -> Iterator[pl.DataFrame]:
    """Compare what the log gives with what the store holds.

    Of several expected rows of one key the newest counts; if it deletes, none is expected.

    Yields:
        Frames of what differs: `key`, and `order`, `value`, `partition`, `offset`, `index`,
        `loose` of the expected row (null: not expected), `order_found` and `value_found` (null:
        not found).
    """
    for number in range(BUCKETS):
        newest = (
            expected.bucket(number)
            .sort("order", "index")
            .unique("key", keep="last", maintain_order=True)
            .filter(~pl.col("deleted"))
        )
        there = found.bucket(number).select("key", "order", "value")
        doubled = there.filter(pl.col("key").is_duplicated())
        joined = newest.join(there, on="key", how="full", suffix="_found", coalesce=True)
        same_value = pl.col("loose") | (pl.col("value") == pl.col("value_found"))
        same = (pl.col("order") == pl.col("order_found")) & same_value
        different = joined.filter(
            ~same.fill_null(False) | pl.col("key").is_in(doubled["key"].implode())
        )
        if different.height:
            yield different
