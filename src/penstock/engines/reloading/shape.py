"""What a running pipeline cannot change without forming anew: its logs, lanes and sources."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from penstock.contract import ContractSpec
from penstock.plan import fingerprint

if TYPE_CHECKING:
    from penstock.plan import Lane, Segment

Shape = Mapping[str, str]
"""For each part, such as `topic orders`, a digest of all that is not computation."""


def shape(segments: Sequence[Segment]) -> Shape:
    """Tell a pipeline's shape; take it before its sources are polled.

    Args:
        segments: The pipeline, compiled.
    """
    found: dict[str, str] = {}
    for segment in segments:
        found[f"{segment.kind} {segment.name}"] = fingerprint.digest(_log(segment))
        if segment.source is not None:
            found[f"source of {segment.name}"] = fingerprint.digest(_told(segment.source, {}))
        for lane in segment.lanes:
            found[f"lane {lane.name}"] = fingerprint.digest(_lane(segment, lane))
    return found


def differences(before: Shape, after: Shape) -> list[str]:
    """Name the parts that are new, gone or another."""
    gone = [f"{part} is gone" for part in before if part not in after]
    new = [f"{part} is new" for part in after if part not in before]
    other = [
        f"{part} has changed" for part in after if before.get(part, after[part]) != after[part]
    ]
    return [*new, *gone, *other]


def _log(segment: Segment) -> Iterator[str]:
    yield segment.spec.fingerprint
    yield repr((segment.kind, segment.framing, segment.partitions, segment.key, segment.external))
    yield repr((segment.retention, segment.codec.format, segment.encrypt))


def _lane(segment: Segment, lane: Lane) -> Iterator[str]:
    yield lane.spec.fingerprint
    yield repr((segment.name, lane.store, lane.table, lane.mode, lane.key, lane.partitions))
    yield repr((lane.retention, lane.codec.format))


def _told(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Yield what a source was declared with; two that yield the same poll the same."""
    if id(value) in seen:
        yield "again"
        return
    seen[id(value)] = value  # held, so that no id is used twice
    yield type(value).__qualname__
    if isinstance(value, ContractSpec):
        yield value.fingerprint
    elif isinstance(value, Mapping):
        yield from _all([part for item in value.items() for part in item], seen)
    elif isinstance(value, list | tuple):
        yield from _all(value, seen)
    elif isinstance(value, str | bytes | int | float | bool | None | PurePath):
        yield repr(value)
    else:
        yield from _object(value, seen)


def _object(value: Any, seen: dict[int, Any]) -> Iterator[str]:
    yield fingerprint.digest(fingerprint.code(value))
    slots = {name: getattr(value, name, None) for name in getattr(type(value), "__slots__", ())}
    for name, held in sorted({**slots, **getattr(value, "__dict__", {})}.items()):
        if not isinstance(getattr(type(value), name, None), functools.cached_property):
            yield name
            yield from _told(held, seen)


def _all(values: Sequence[Any], seen: dict[int, Any]) -> Iterator[str]:
    yield str(len(values))
    for value in values:
        yield from _told(value, seen)
