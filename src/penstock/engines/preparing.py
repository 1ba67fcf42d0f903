"""What is settled before a pipeline moves: its contracts, its lanes, the identity of its logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock import plan
from penstock.errors import CheckError, ContractError, LogChanged
from penstock.home import contracts, identities, mask_keys, programs
from penstock.postgresql import stalls
from penstock.serdes.formats import codecs

if TYPE_CHECKING:
    from penstock.engines.systems import Systems
    from penstock.home.contracts import Change
    from penstock.home.database import Home
    from penstock.interfaces import Forgetful
    from penstock.pipeline import Pipeline
    from penstock.plan import Lane, Segment
    from penstock.profile import Profile


def compiled(pipeline: Pipeline, profile: Profile) -> tuple[Segment, ...]:
    """Compile a pipeline and try its maps on made-up records.

    Raises:
        CheckError: What is wrong with it, everything at once.
    """
    segments = plan.compile(pipeline, codecs(profile))
    findings = [str(finding) for finding in plan.validate(segments, profile)]
    findings += [finding for segment in segments for finding in segment.plan.check()]
    if findings:
        raise CheckError(findings)
    return segments


def verify_schemas(segments: Sequence[Segment]) -> None:
    """Ask the registry, if the topics have one, whether it will take what is to be written.

    Raises:
        ContractError: It will not; names every topic and what breaks.
        Unavailable: The registry is away.
        Refused: It does not let this user in, or is none.
    """
    broken = []
    for lane in _topics(segments):
        try:
            lane.codec.preview(lane.spec)
        except ContractError as error:
            broken.append(str(error))
    if broken:
        raise ContractError("\n".join(broken))


def register(segment: Segment) -> None:
    """Register what a segment writes to topics; raises as `verify_schemas` does."""
    for lane in _topics([segment]):
        lane.codec.register(lane.spec)


def _topics(segments: Sequence[Segment]) -> Iterator[Lane]:
    return (lane for s in segments for lane in s.lanes if lane.mode == "topic")


def admit(home: Home, pipeline: str, segments: Sequence[Segment]) -> list[Change]:
    """Compare the contracts with those of the last start, and say which lanes there are now.

    Raises:
        ContractError: A change would break readers or stored rows, or a mask's key is another.
    """
    with stalls.attended(home.url), home.transaction() as cursor:
        mask_keys.admit(cursor, pipeline, segments)
        changed = contracts.admit(cursor, pipeline, segments)
        programs.register(cursor, pipeline, segments)
    return changed


def recognise(home: Home, pipeline: str, segment: str, log_id: str, *, accept: bool) -> None:
    """Make sure that a log is the one that was read before.

    Raises:
        LogChanged: It is another one, and that was not accepted.
    """
    with home.transaction() as cursor:
        if accept:
            identities.accept(cursor, pipeline, segment, log_id)
        identities.recognise(cursor, pipeline, segment, log_id)


def recognise_topic(systems: Systems, pipeline: str, lane: Lane, *, accept: bool) -> None:
    """Make sure that a topic is the one that a lane wrote before; makes it when it is missing.

    Raises:
        LogChanged: It was removed, and what the lane wrote with it; and that was not accepted.
        Unavailable: The log or home is away.
    """
    log = systems.topic(lane.table, lane.partitions, lane.retention)
    try:
        log_id = log.identity()
    finally:
        log.close()
    with systems.home() as home:
        recognise(home, pipeline, lane.table, log_id, accept=accept)


def recognise_target(
    systems: Systems, pipeline: str, lane: Lane, sink: Forgetful, *, accept: bool
) -> None:
    """Open a sink, and make sure that what it writes to is what the lane wrote to before.

    Args:
        systems: Entered.
        pipeline: Whose lane.
        lane: The lane.
        sink: Its sink; closed if this fails.
        accept: Whether to take what is there now for the right one.

    Raises:
        LogChanged: It was removed, and what the lane wrote with it; and that was not accepted.
        PenstockError: As `Sink.open` raises it.
    """
    try:
        sink.open()
        with systems.home() as home:
            recognise(home, pipeline, lane.name, sink.identity(), accept=accept)
    except LogChanged as error:
        sink.close()
        raise LogChanged(
            f"topic {lane.table!r} of store {lane.store!r} was deleted and made anew, and what "
            f"lane {lane.name!r} wrote to it is gone. Bring the old one back; or name another "
            "table in .sink(...), which gets every row that the log still has; or run with "
            "--accept-log to go on in the new one with what comes next"
        ) from error
    except BaseException:
        sink.close()
        raise
