"""Compacts the tables of files that a program writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.errors import ProfileError
from penstock.plan import LOG_STORE
from penstock.records import LaneKey
from penstock.sinks.files import FileSink

if TYPE_CHECKING:
    from penstock.engines.systems import Systems
    from penstock.plan import Lane, Segment
    from penstock.sinks.files.compaction import Compacted


def compact(
    pipeline: str,
    segments: Sequence[Segment],
    systems: Systems,
    *,
    size: int,
    table: str | None = None,
) -> Iterator[tuple[str, Compacted]]:
    """Compact each table in turn; a pipeline may be running.

    Args:
        pipeline: Its name.
        segments: Of the program.
        systems: Entered.
        size: Bytes that a file shall have.
        table: Only this lane, such as `orders@lake`.

    Yields:
        The lane, and what was done to its table.

    Raises:
        ProfileError: No sink of the program, or not this one, writes files.
        Refused, Unavailable: As `FileSink.compact` does.
    """
    found = dict(_sinks(pipeline, segments, systems))
    if not found or (table and table not in found):
        known = ", ".join(found) or "none"
        asked = f"the sink {table!r}" if table else "a sink"
        raise ProfileError(
            f"there is not {asked} that writes files on this profile (those that do: {known}); "
            "choose the profile by --profile"
        )
    for name, sink in found.items():
        if table in {None, name}:
            try:
                yield name, sink.compact(size)
            finally:
                sink.close()


def _sinks(
    pipeline: str, segments: Sequence[Segment], systems: Systems
) -> Iterator[tuple[str, FileSink]]:
    for segment in segments:
        for lane in segment.lanes:
            sink = _sink(pipeline, segment, lane, systems)
            if isinstance(sink, FileSink):
                yield lane.name, sink


def _sink(pipeline: str, segment: Segment, lane: Lane, systems: Systems) -> object:
    if lane.store == LOG_STORE:
        return None
    return systems.sink(lane, LaneKey(pipeline, "", segment.name, lane.name))
