"""Cuts packed rows into batches that the cluster takes, each for the node that owns its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from cassandra.metadata import Murmur3Token

from penstock.sinks.cassandra.cells import Packed, fields_raw, key_bytes, pack, raw
from penstock.sinks.cassandra.columns import ORDER
from penstock.sinks.cassandra.limits import CELL
from penstock.sinks.cassandra.session import Owners, Session
from penstock.sinks.cassandra.table import Table
from penstock.sinks.cassandra.wire import PackedBatch, Rows

SLICE = 4096
"""Rows that are packed at once, while those before them are on their way."""

MOST = 200
"""Rows of a batch at most."""

_OWNER = "_owner"


@dataclass(frozen=True)
class Batch:
    """Some rows for one node.

    Args:
        packed: The rows' bytes.
        start: The first row.
        end: Behind the last row.
        numbers: Each packed row's number among all rows that are written.
        host: The node that owns them; None leaves it to the driver.
    """

    packed: Packed
    start: int
    end: int
    numbers: Sequence[int]
    host: Any = None

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def statement(self) -> PackedBatch:
        """What to send."""
        return PackedBatch(Rows(len(self), self.packed.rows(self.start, self.end)))

    def halves(self) -> tuple[Batch, Batch]:
        """Cut it in two."""
        middle = (self.start + self.end) // 2
        return replace(self, end=middle), replace(self, start=middle)


class Cutter:
    """Makes batches of rows.

    Args:
        session: For the statements' ids, and the nodes.
        table: Where the rows go.
        limit: Bytes of a batch at most, as the server counts.
    """

    def __init__(self, session: Session, table: Table, limit: int) -> None:
        # the driver forgets a statement that nobody holds, and could not prepare it again
        self._insert = session.prepare(table.insert)
        self._delete = session.prepare(table.delete)
        fields = {field.name: field for field in table.spec.fields}
        self._fields = table.spec.fields
        self._key = [fields[name] for name in table.key]
        self._partition = [fields[name] for name in table.partition]
        self._owners = session.owners
        self._limit = limit

    def cut(self, rows: pl.DataFrame) -> Iterator[Batch]:
        """Cut rows, each of another key, into batches.

        Args:
            rows: Rows that went through `columns.flat`.
        """
        owners = self._owners()
        numbered = rows.with_row_index("_number")
        if owners.several:
            numbered = self._by_owner(numbered, owners)
        for deleted, part in numbered.partition_by(
            "_deleted", as_dict=True, maintain_order=True
        ).items():
            for some in part.iter_slices(SLICE):
                packed = self._pack_deletes(some) if deleted[0] else self._pack_inserts(some)
                yield from self._batches(packed, some, owners)

    def _pack_inserts(self, rows: pl.DataFrame) -> Packed:
        order = raw(None, rows[ORDER])
        return pack(self._insert.query_id, [*fields_raw(self._fields, rows), order, order])

    def _pack_deletes(self, rows: pl.DataFrame) -> Packed:
        order = raw(None, rows[ORDER])
        return pack(self._delete.query_id, [order, *fields_raw(self._key, rows)])

    def _by_owner(self, rows: pl.DataFrame, owners: Owners) -> pl.DataFrame:
        keys = key_bytes(fields_raw(self._partition, rows))
        tokens = map(Murmur3Token.hash_fn, keys.to_list())
        found = pl.Series(_OWNER, [owners.place(token) for token in tokens], pl.UInt32)
        return rows.with_columns(found).sort(_OWNER, maintain_order=True)

    def _batches(self, packed: Packed, rows: pl.DataFrame, owners: Owners) -> Iterator[Batch]:
        numbers = rows["_number"].to_list()
        places = rows[_OWNER].to_list() if _OWNER in rows.columns else [None] * len(numbers)
        extra = CELL * len(self._fields)
        start = weight = 0
        for at, (begin, end) in enumerate(
            zip(packed.offsets[:-1], packed.offsets[1:], strict=True)
        ):
            size = end - begin + extra
            full = weight + size > self._limit or at - start == MOST or places[at] != places[start]
            if full and at > start:
                yield Batch(packed, start, at, numbers, owners.host(places[start]))
                start, weight = at, 0
            weight += size
        if packed:
            yield Batch(packed, start, len(packed), numbers, owners.host(places[start]))
