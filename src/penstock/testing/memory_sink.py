"""Stores in memory, for tests: the same checks of epochs, progress and receipts as a real one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import polars as pl

from penstock import faults
from penstock import receipts as counting
from penstock.contract import encode_key
from penstock.errors import Fenced, Refused, Rejected, Unavailable
from penstock.interfaces import Capabilities
from penstock.plan import Lane, row_schema
from penstock.records import Counts, LaneKey, Progress, Receipt, Step
from penstock.testing.memory_log import MemoryLog

Key = tuple[Any, ...]
Row = dict[str, Any]


@dataclass
class MemoryTable:
    """What a store holds of one lane: rows by key (upsert) or in order (append)."""

    rows: list[Row] = field(default_factory=list)
    by_key: dict[Key, Row] = field(default_factory=dict)
    gone: dict[Key, int] = field(default_factory=dict)


@dataclass
class MemoryStore:
    """Tables and progress that outlive the sinks that write them.

    Args:
        refuses: An expression that is true for rows that the store rejects.
        away: True makes every call `Unavailable`.
    """

    refuses: pl.Expr | None = None
    away: bool = False
    tables: dict[str, MemoryTable] = field(default_factory=dict)
    laid: dict[tuple[LaneKey, str], dict[str, pl.DataFrame]] = field(default_factory=dict)
    progress: dict[tuple[LaneKey, int], Progress] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def sink(self, lane: Lane, key: LaneKey) -> MemorySink:
        """Make a sink of a lane of this store."""
        return MemorySink(self, lane, key)


class MemorySink:
    """Writes a lane into a `MemoryStore`; implements `interfaces.Apart`, exactly once.

    Args:
        store: The store.
        lane: The lane, of mode `upsert` or `append`.
        key: Under what the progress is kept.
    """

    capabilities = Capabilities(apart=True)

    def __init__(self, store: MemoryStore, lane: Lane, key: LaneKey) -> None:
        self._store = store
        self._lane = lane
        self._key = key
        self._epochs: dict[int, int] = {}
        self._staged: list[pl.DataFrame] = []

    # --- before the first row ---

    def open(self) -> None:
        self._dial()
        with self._store.lock:
            self._store.tables.setdefault(self._lane.table, MemoryTable())

    def preview(self) -> Sequence[str]:
        self._dial()
        there = self._lane.table in self._store.tables
        return [] if there else [f"creates the table {self._lane.table!r}"]

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self._dial()
        self.rollback()
        with self._store.lock:
            found = {p: self._stands(p) for p in epochs}
            if any(found[p].epoch > epoch for p, epoch in epochs.items()):
                raise self._fenced()
            claimed = {p: replace(found[p], epoch=epoch) for p, epoch in epochs.items()}
            self._store.progress.update({(self._key, p): now for p, now in claimed.items()})
        self._epochs.update(epochs)
        return claimed

    def progress(self) -> Mapping[int, Progress]:
        self._dial()
        with self._store.lock:
            kept = self._store.progress.items()
            return {p: stands for (key, p), stands in kept if key == self._key}

    # --- one micro-batch ---

    def stage(self, rows: pl.DataFrame) -> Receipt:
        self._dial()
        faults.point("copying")
        if self._refused(rows).any():
            self.rollback()
            raise Rejected("the store refuses a row", code="23514")
        self._staged.append(rows)
        return Receipt(_per_partition(rows))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        self._dial()
        empty = pl.DataFrame(schema=row_schema(self._lane.spec))
        apart = [self._find(receipt.token) for receipt in receipts if receipt.token]
        rows = pl.concat([empty, *self._staged, *apart])
        try:
            counting.check(self._lane.name, receipts, _per_partition(rows), steps)
        except Refused:
            self.rollback()
            raise
        with self._store.lock:
            self._check_epochs(steps)
            counted = counting.counted(steps, self._write(rows))
            moved = {p: replace(step.after, epoch=step.before.epoch) for p, step in counted.items()}
            self._store.progress.update({(self._key, p): now for p, now in moved.items()})
        self.rollback()
        self._clear(done=[receipt.token for receipt in receipts if receipt.token])
        return moved

    def rollback(self) -> None:
        self._staged = []

    def lay(self, batch: int, partition: int, epoch: int) -> str:
        self._dial()
        place = f"{epoch} {batch}"
        self._store.laid[self._key, place] = {}
        return place

    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        self._dial()
        if self._refused(rows).any():
            raise Rejected("the store refuses a row", code="23514")
        if (self._key, place) not in self._store.laid:
            raise Unavailable(f"there is no room for the micro-batch {place}")
        token = f"{place} {uuid4().hex}"
        self._store.laid[self._key, place][token] = rows
        return Receipt(_per_partition(rows), token)

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        self._dial()
        self.rollback()
        guilty = self._refused(rows).arg_true().to_list()
        return [(row, Rejected("the store refuses the row", code="23514")) for row in guilty]

    # --- after ---

    def positions(self) -> Iterator[pl.DataFrame]:
        self._dial()
        yield self.frame()

    def sweep(self, epoch: int) -> None:
        self._clear(below=epoch)

    def close(self) -> None:
        self.rollback()

    def frame(self) -> pl.DataFrame:
        """The table: the contract's columns, and `_order` (upsert) or the position (append)."""
        with self._store.lock:
            table = self._store.tables.get(self._lane.table, MemoryTable())
            upsert = self._lane.mode == "upsert"
            rows = list(table.by_key.values()) if upsert else table.rows
        extra = ["_order"] if upsert else ["_partition", "_offset", "_index"]
        schema = row_schema(self._lane.spec)
        names = [*self._lane.spec.polars, *extra]
        return pl.DataFrame(rows, schema=schema, orient="row").select(names)

    # --- inside ---

    def _find(self, token: str) -> pl.DataFrame:
        place = token.rpartition(" ")[0]
        found = self._store.laid.get((self._key, place), {}).get(token)
        if found is None:
            raise Unavailable("what was staged apart is lost; the micro-batch is run again")
        return found

    def _clear(self, below: int = 0, done: Sequence[str] = ()) -> None:
        places = {token.rpartition(" ")[0] for token in done}
        for key, place in list(self._store.laid):
            if key == self._key and (place in places or int(place.split()[0]) < below):
                del self._store.laid[key, place]

    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        table = self._store.tables.setdefault(self._lane.table, MemoryTable())
        if self._lane.mode == "append":
            table.rows += rows.rows(named=True)
            return {p: Counts(written=n) for p, n in _per_partition(rows).items()}
        newest = rows.sort("_order", "_index", maintain_order=True)
        newest = newest.unique(self._lane.key, keep="last", maintain_order=True)
        lost = Counter(_per_partition(rows)) - Counter(_per_partition(newest))
        counts = {p: Counts(superseded=n) for p, n in lost.items()}
        for row in newest.iter_rows(named=True):
            p = row["_partition"]
            counts[p] = counts.get(p, Counts()) + Counts(**{self._apply(table, row): 1})
        return counts

    def _apply(self, table: MemoryTable, row: Row) -> str:
        """Upsert or delete one row; returns the count that it adds to."""
        key = tuple(row[name] for name in self._lane.key)
        there = table.by_key.get(key)
        newest = max(there["_order"] if there else -1, table.gone.get(key, -1))
        if newest >= row["_order"]:
            return "superseded"
        if row["_deleted"]:
            table.by_key.pop(key, None)
            table.gone[key] = row["_order"]
            return "deleted"
        table.gone.pop(key, None)
        table.by_key[key] = row
        return "written"

    def _check_epochs(self, steps: Mapping[int, Step]) -> None:
        for partition, step in steps.items():
            stored = self._stands(partition)
            same = (stored.next, stored.epoch) == (step.before.next, step.before.epoch)
            if not same and faults.enabled("fencing"):
                self.rollback()
                raise self._fenced()

    def _stands(self, partition: int) -> Progress:
        return self._store.progress.get((self._key, partition), Progress(0, 0))

    def _refused(self, rows: pl.DataFrame) -> pl.Series:
        refuses = pl.lit(False) if self._store.refuses is None else self._store.refuses
        return rows.with_columns(refuses.fill_null(False).alias("_refused"))["_refused"]

    def _dial(self) -> None:
        if self._store.away:
            raise Unavailable("the store in memory is away")

    def _fenced(self) -> Fenced:
        return Fenced(f"another process has taken over lane {self._lane.name!r}")


class MemoryTopicSink(MemorySink):
    """Writes a lane into a `MemoryLog`; its progress is in a `MemoryStore`.

    Args:
        store: Where the progress is kept.
        lane: The lane, of mode `topic`.
        key: Under what the progress is kept.
        log: The topic.
    """

    def __init__(self, store: MemoryStore, lane: Lane, key: LaneKey, log: MemoryLog) -> None:
        super().__init__(store, lane, key)
        self._log = log

    def _write(self, rows: pl.DataFrame) -> dict[int, Counts]:
        if rows.height:
            self._log.append(log_records(self._lane, rows))
        deleted = Counter(_per_partition(rows.filter(pl.col("_deleted"))))
        return {
            p: Counts(written=n - deleted[p], deleted=deleted[p])
            for p, n in _per_partition(rows).items()
        }


def log_records(lane: Lane, rows: pl.DataFrame) -> pl.DataFrame:
    """Turn a topic lane's rows into the records that it writes."""
    keys = encode_key(lane.spec, lane.key, rows) if lane.key else None
    return pl.DataFrame(
        {
            "key": pl.Series("key", keys if keys is not None else [None] * rows.height, pl.Binary),
            "value": lane.codec.encode(lane.spec, rows),
            "born": rows["_born"],
        }
    ).with_columns(value=pl.when(~rows["_deleted"]).then("value"))


def _per_partition(rows: pl.DataFrame) -> dict[int, int]:
    return dict(rows["_partition"].value_counts().iter_rows())
