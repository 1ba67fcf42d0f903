"""Reads a log from its start to where it ends now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.records import Limits

if TYPE_CHECKING:
    import polars as pl

    from penstock.interfaces import Log

_PAGE = Limits(records=50_000, bytes=64 << 20)


def pages(log: Log, limits: Limits = _PAGE) -> Iterator[pl.DataFrame]:
    """Yield all records that a log holds now, in frames; perhaps some that come meanwhile, too.

    Args:
        log: Read from its oldest offsets on; raises as its `read` does.
        limits: Of a frame.
    """
    spans = log.spans()
    starts = {partition: span.start for partition, span in spans.items() if len(span)}
    while starts:
        read = log.read(starts, limits)
        yield read.records
        starts.update({partition: span.end for partition, span in read.spans.items()})
        starts = {p: start for p, start in starts.items() if start < spans[p].end}
