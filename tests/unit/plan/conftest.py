from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.plan import BATCH_SCHEMA, MicroBatch
from penstock.records import Span

BatchOf = Callable[..., MicroBatch]


@pytest.fixture
def batch_of() -> BatchOf:
    """Make a micro-batch of values, with keys and partitions if given."""

    def make(
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        partitions: Sequence[int] | None = None,
        start: int = 100,
    ) -> MicroBatch:
        count = len(values)
        places = sorted(zip(partitions or [0] * count, range(count), strict=True))
        offsets: dict[int, int] = {}
        rows = []
        for partition, number in places:
            offset = offsets.get(partition, start)
            offsets[partition] = offset + 1
            key = keys[number] if keys else None
            born = datetime(2026, 1, 1, second=offset % 60, tzinfo=UTC)
            rows.append((partition, offset, key, values[number], None, born, 1000 + offset))
        spans = {p: Span(start, end) for p, end in offsets.items()} or {0: Span(start, start)}
        return MicroBatch(spans, pl.DataFrame(rows, schema=BATCH_SCHEMA, orient="row"))

    return make
