"""From a pipeline to its segments, with every wrong declaration found that a program can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.errors import DeclarationError, ProfileError
from penstock.interfaces import Framing
from penstock.pipeline.graph import (
    LandingNode,
    LogNode,
    Node,
    SinkNode,
    StepNode,
    TopicNode,
    log_of,
    path_of,
)
from penstock.plan.indexes import DEEPEST
from penstock.plan.model import LOG_STORE, Lane, Segment
from penstock.plan.run import Plan, Point
from penstock.serdes.codec import Codecs, plain
from penstock.transforms import Explode

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.profile import Profile


@dataclass(frozen=True, eq=False)
class Write:
    """One of the streams that a topic is written by."""

    topic: TopicNode
    parent: Node


End = SinkNode | Write
"""What ends in a lane: a table, or a topic that the pipeline writes."""


def compile(pipeline: Pipeline, codecs: Codecs = plain) -> tuple[Segment, ...]:
    """Compile a pipeline to its segments, in the order of the flow.

    A topic that nothing in the pipeline reads ends in a lane and has no segment of its own.

    Args:
        pipeline: What was declared.
        codecs: From each topic to how it holds records; see `penstock.serdes.formats`.

    Raises:
        DeclarationError: The program cannot work; file, line and what to write instead.
    """
    written = [log for log in pipeline.logs if isinstance(log, TopicNode) and log.parents]
    ends: list[End] = [*(end for topic in written for end in writes(topic)), *pipeline.sinks]
    if not ends:
        raise pipeline.site.error(
            f"the pipeline {pipeline.name!r} has no sink; "
            'end a stream with .sink("table", store="store") or .topic("name")'
        )
    segments = segments_of(pipeline.logs, ends, codecs)
    read = {segment.name for segment in segments}
    for log in pipeline.logs:
        if log.name not in read and log not in written:
            raise log.site.error(
                f"nothing is done with {log.name!r}; end its stream with "
                '.sink("table", store="store") or .topic("name"), or remove it'
            )
    return segments


def writes(topic: TopicNode) -> list[Write]:
    """What writes a topic: its streams."""
    return [Write(topic, parent) for parent in topic.parents]


def segments_of(
    logs: Sequence[LogNode], ends: Sequence[End], codecs: Codecs = plain
) -> tuple[Segment, ...]:
    """Compile what lies between some logs and some ends; logs that no end reads are left out."""
    by_log: dict[LogNode, list[End]] = {}
    for end in ends:
        by_log.setdefault(log_of(end.parent), []).append(end)
    return tuple(_segment(log, by_log[log], codecs) for log in logs if log in by_log)


def validate(segments: Sequence[Segment], profile: Profile) -> list[DeclarationError]:
    """Find what a program asks for and a profile does not have, such as an unknown store."""
    found = [error for segment in segments for error in _keyless(segment)]
    for lane in (lane for segment in segments for lane in segment.lanes):
        if lane.store == LOG_STORE:
            continue
        try:
            profile.store(lane.store)
        except ProfileError as error:
            found.append(DeclarationError(str(error), file=lane.file, line=lane.line))
    return found


def _keyless(segment: Segment) -> Iterator[DeclarationError]:
    for key in segment.encrypt:
        try:
            key.secret()
        except ProfileError as error:
            yield DeclarationError(f"the landing {segment.name!r} is encrypted: {error}")


def _segment(log: LogNode, ends: Sequence[End], codecs: Codecs) -> Segment:
    framing = log.source.framing if isinstance(log, LandingNode) else Framing()
    lanes = {end: _lane(log, end, codecs) for end in ends}
    codec = (plain if isinstance(log, LandingNode) else codecs)(log.name)
    key = log.key if isinstance(log, TopicNode) or framing.changes else ()
    plan = Plan(log.spec, framing, key, _point(log, lanes), codec)
    return Segment(
        name=log.name,
        kind="landing" if isinstance(log, LandingNode) else "topic",
        spec=log.spec,
        framing=framing,
        partitions=1 if isinstance(log, LandingNode) else log.partitions,
        key=log.key if isinstance(log, TopicNode) else (),
        retention=log.retention,
        external=isinstance(log, TopicNode) and not log.parents,
        lanes=tuple(lanes.values()),
        plan=plan,
        source=log.source if isinstance(log, LandingNode) else None,
        codec=codec,
        encrypt=log.encrypt if isinstance(log, LandingNode) else (),
    )


def _point(node: Node, lanes: dict[End, Lane]) -> Point:
    """Build the tree of steps below a node, in the order of declaration."""
    here = tuple(lane for end, lane in lanes.items() if end.parent is node)
    steps: dict[StepNode, None] = {}
    for end in lanes:
        steps.update(dict.fromkeys(s for s in path_of(end.parent) if s.parent is node))
    return Point(here, tuple((step.transform, _point(step, lanes)) for step in steps))


def _lane(log: LogNode, end: End, codecs: Codecs) -> Lane:
    depth = sum(isinstance(step.transform, Explode) for step in path_of(end.parent))
    if depth > DEEPEST:
        site = end.topic.site if isinstance(end, Write) else end.site
        raise site.error(
            f"{depth} explodes lie before this, at most {DEEPEST} fit into a position; "
            "put a .topic() between them"
        )
    if isinstance(end, SinkNode):
        return _table_lane(log, end)
    topic = end.topic
    return Lane(
        name=f"{topic.name}@{LOG_STORE}",
        store=LOG_STORE,
        table=topic.name,
        mode="topic",
        spec=topic.spec,
        key=topic.key,
        partitions=topic.partitions or 1,
        retention=topic.retention,
        file=topic.site.file,
        line=topic.site.line,
        codec=codecs(topic.name),
        shared=len(topic.parents) > 1,
    )


def _table_lane(log: LogNode, end: SinkNode) -> Lane:
    mode = end.mode or ("upsert" if end.key and isinstance(log, TopicNode) else "append")
    if mode == "upsert":
        _check_upsert(log, end)
    return Lane(
        name=end.lane,
        store=end.store,
        table=end.table,
        mode=mode,
        spec=end.spec,
        key=end.key if mode == "upsert" else (),
        partitions=1,
        retention=None,
        file=end.site.file,
        line=end.site.line,
    )


def _check_upsert(log: LogNode, end: SinkNode) -> None:
    """Refuse an upsert whose newest row the log's order could not tell."""
    what = f"the sink {end.table!r} upserts"
    append = 'or write mode="append"'
    if not end.key:
        raise end.site.error(
            f"{what}, but {end.spec.name} has no key; mark a field with ps.key(), {append}"
        )
    if isinstance(log, LandingNode):
        raise end.site.error(
            f"{what}, but reads the landing {log.name!r}, which has no key; "
            f'put .topic("name") before it, {append}'
        )
    if not log.key:
        raise end.site.error(
            f"{what} by {_names(end.key)}, but the topic {log.name!r} declared at {log.site} "
            f"has no key; give it key={_names(end.key)}, {append}"
        )
    topic, rows = log.spec.masked.polars, end.spec.polars
    if log.key != end.key or [topic[name] for name in log.key] != [rows[name] for name in end.key]:
        raise end.site.error(
            f"{what} by {_names(end.key)}, but its topic {log.name!r} is keyed by "
            f"{_names(log.key)}: versions of a row could overtake each other; put "
            f'.topic("name", key={_names(end.key)}) before it, {append}'
        )


def _names(key: tuple[str, ...]) -> str:
    return repr(key[0]) if len(key) == 1 else repr(key)
