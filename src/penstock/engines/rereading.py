"""Dead letters of records with masked fields, made whole again from the log that they came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import polars as pl

from penstock.errors import LogChanged
from penstock.plan import MicroBatch
from penstock.plan.withhold import is_withheld
from penstock.records import Span

if TYPE_CHECKING:
    from penstock.interfaces import Log

_PLACE = ["partition", "offset"]
_READ = ["key", "value", "headers"]


def whole(log: Log, batch: MicroBatch) -> MicroBatch:
    """Read what a replay batch's letters have withheld; what is gone from the log stays as it is.

    Args:
        log: What the records were read from.
        batch: A replay batch; the plan buries what is still withheld in it.

    Raises:
        Unavailable: The log is away.
    """
    withheld = is_withheld(batch.records)
    if not withheld.any():
        return batch
    places = batch.records.filter(withheld).select(_PLACE).unique().sort(_PLACE)
    frames = [log.reread({p: span}).records for p, span in _spans(log, places)]
    if not frames:
        return batch
    found = pl.concat(frames).select(*_PLACE, *_READ, there=True)
    asked = batch.records.with_columns(withheld=withheld)
    joined = asked.join(found, on=_PLACE, how="left", suffix="_read", maintain_order="left")
    again = pl.col("withheld") & pl.col("there").fill_null(value=False)
    records = joined.with_columns(
        pl.when(again).then(pl.col(f"{name}_read")).otherwise(pl.col(name)).alias(name)
        for name in _READ
    )
    return MicroBatch(batch.spans, records.select(batch.records.columns))


def _spans(log: Log, places: pl.DataFrame) -> Iterator[tuple[int, Span]]:
    """Spans without gaps of what the log still holds."""
    try:
        kept = log.spans()
    except LogChanged:  # it was removed: what reads it will say so
        return
    begun: tuple[int, Span] | None = None
    for partition, offset in places.iter_rows():
        if partition not in kept or not kept[partition].start <= offset < kept[partition].end:
            continue
        if begun and begun[0] == partition and begun[1].end == offset:
            begun = (partition, Span(begun[1].start, offset + 1))
            continue
        if begun:
            yield begun
        begun = (partition, Span(offset, offset + 1))
    if begun:
        yield begun
