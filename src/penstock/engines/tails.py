"""Whether a log still has the records that lanes took last: one that was restored has others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from penstock.engines.part import fingerprint
from penstock.errors import LogChanged
from penstock.plan import REPLAY
from penstock.records import Span

if TYPE_CHECKING:
    from penstock.engines.feed import Feed
    from penstock.engines.lanes import LaneWriter


@dataclass(frozen=True)
class _Taken:
    partition: int
    offset: int
    tail: str
    lane: str


def verify(feed: Feed, writers: Sequence[LaneWriter]) -> None:
    """Look up the record that each lane took last in each partition.

    Raises:
        LogChanged: It is not the record that the lane took.
    """
    for places in zip_longest(*_taken(feed.oldest(), writers)):
        strange = _strange(feed, [place for place in places if place])
        if strange:
            raise LogChanged(
                f"offset {strange.offset} of partition {strange.partition} is not the record that "
                f"lane {strange.lane} took there: the log was restored from a backup or written "
                "anew. Bring the log back as it was; or remove it, so that it is made anew, and "
                "run with --accept-log"
            )


def _taken(oldest: Mapping[int, int], writers: Sequence[LaneWriter]) -> list[list[_Taken]]:
    """The different places, a list for each partition: what stands together is read together."""
    found: dict[int, dict[tuple[int, str], _Taken]] = {}
    for writer in writers:
        for partition, stands in writer.progress.items():
            if partition == REPLAY or stands.last is None or not stands.tail:
                continue
            offset, tail = stands.last.offset, stands.tail
            if offset >= oldest.get(partition, 0):
                place = _Taken(partition, offset, tail, writer.name)
                found.setdefault(partition, {})[offset, tail] = place
    return [list(places.values()) for places in found.values()]


def _strange(feed: Feed, places: Sequence[_Taken]) -> _Taken | None:
    """Find one that is another record now; one that was compacted away is none."""
    try:
        spans = {place.partition: Span(place.offset, place.offset + 1) for place in places}
        found = feed.reread(spans).records.iter_rows(named=True)
    except LogChanged:
        if len(places) == 1:
            return places[0]
        return next(filter(None, (_strange(feed, [place]) for place in places)), None)
    tails = {record["partition"]: fingerprint(record) for record in found}
    known = (tails.get(place.partition, place.tail) == place.tail for place in places)
    return next((place for place, same in zip(places, known, strict=True) if not same), None)
