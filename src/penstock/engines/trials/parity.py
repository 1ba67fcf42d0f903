"""Runs a program twice on one recorded input, and proves that both engines give the same.

First on the embedded engine and PostgreSQL, then on a profile; each on a ground of its own (see
`ground`). Both runs are child processes, as a user starts them. `remains` reads what they left,
`comparing` says what is the same.
"""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from penstock import contract, plan
from penstock import pipeline as programs
from penstock import profile as profiles
from penstock.engines.systems import Systems
from penstock.engines.trials import children, comparing, ground, recording, taking
from penstock.engines.trials.comparing import Difference, Matched, Sameness
from penstock.engines.trials.filling import fill
from penstock.engines.trials.recording import Recording
from penstock.engines.trials.remains import Remains
from penstock.errors import CheckError, DeclarationError, ProfileError, Refused, Unavailable
from penstock.logs.paging import pages
from penstock.pipeline import Pipeline
from penstock.plan import LOG_STORE, Lane, Segment
from penstock.profile import Profile
from penstock.profile.apart import REFERENCE, on_one_machine
from penstock.records import Counts
from penstock.serdes import formats

REFERENCE_NAME = "embedded"
"""What the first run is called."""

_KEPT = 5
"""Differences of a lane that are kept whole."""

_PATIENCE = 1800.0


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on what input.

    Args:
        program: Its file.
        profile: Whose systems the second run has, in namespaces of its own.
        records: Responses of each source, or records of each topic that others write, at most.
        held: Whether to take what the profile's landings and topics hold, in place of polling and
            making records up.
        given: A recorded input in place of all that: see `recording.read`.
        kept: Where to keep the input, for `given`.
        root: Of the user's embedded server, for what it holds.
        seed: Of records that are made up.
        said: Told what happens, a line at a time.
    """

    program: Path
    profile: str = profiles.EMBEDDED
    records: int = 5_000
    held: bool = False
    given: Path | None = None
    kept: Path | None = None
    root: Path = Path(".penstock")
    seed: int = 1
    said: Callable[[str], None] = lambda line: None


@dataclass
class LaneResult:
    """What was found of a lane.

    Args:
        lane: Its name.
        compared: Rows or records of the first run.
        dead: Its dead letters.
        different: How many differences there are.
    """

    lane: str
    compared: int = 0
    dead: int = 0
    different: int = 0


@dataclass
class Result:
    """What came of it.

    Args:
        profile: The second run's.
        inputs: How many records of each log were read.
        lanes: Every lane, in the order of the program.
        differences: The first ones of each lane.
        notes: What could not be compared, and why.
    """

    profile: str
    inputs: dict[str, int] = field(default_factory=dict)
    lanes: dict[str, LaneResult] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether both runs gave the same."""
        return not self.differences

    def add(self, lane: str, differences: Iterator[Difference] | Sequence[Difference]) -> None:
        """Count the differences of a lane, and keep the first."""
        found = self.lanes.setdefault(lane, LaneResult(lane))
        for one in differences:
            found.different += 1
            if found.different <= _KEPT:
                self.differences.append(one)


def compare(wanted: Comparison) -> Result:
    """Record the input, run twice, compare; nothing of it remains.

    Raises:
        DeclarationError: The program or the input is wrong.
        ProfileError: There is no such profile, or it is wrong.
        Refused: The program stops with an error, or a system does not let us have a namespace.
        Unavailable: A system cannot be reached.
    """
    profile = profiles.load(name=wanted.profile)
    pipeline = programs.load(wanted.program)
    segments = plan.compile(pipeline, formats.codecs(profile))
    if findings := plan.validate(segments, profile):
        raise CheckError([str(finding) for finding in findings])
    taken = _input(wanted, profile, pipeline, segments)
    if wanted.kept:
        recording.write(wanted.kept, taken)
    result = Result(profile.name, {name: log.records.height for name, log in taken.items()})
    if not any(result.inputs.values()):
        result.notes.append("the input is empty, so nothing was compared")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-parity-")))
        sides = [
            stack.enter_context(_laid(wanted, one, taken, folder / name))
            for name, one in (("first", on_one_machine(profile)), ("second", profile))
        ]
        for side in sides:
            side.run(wanted)
        wanted.said("comparing")
        _Comparing(result, *(side.left for side in sides)).run()
    return result


def _input(
    wanted: Comparison, profile: Profile, pipeline: Pipeline, segments: Sequence[Segment]
) -> Recording:
    """What both runs read, by the names of the program."""
    logs = [segment for segment in segments if segment.kind == "landing" or segment.external]
    if wanted.given is not None:
        found = recording.read(wanted.given, [s.name for s in logs if s.kind == "landing"])
        names = [segment.name for segment in logs]
        if strange := sorted(set(found) - set(names)):
            known = ", ".join(map(repr, names))
            raise DeclarationError(
                f"the input {wanted.given} has a log {strange[0]!r}, but the program reads {known}"
            )
        nothing = pl.DataFrame(schema={"value": pl.Binary})
        return {n: found.get(n) or recording.completed(nothing, 1) for n in names}
    if wanted.held:
        with Systems(profile, pipeline.name, wanted.root) as systems:
            return {s.name: taking.held(systems, s, wanted.records) for s in logs}
    return {
        segment.name: taking.made_up(segment, wanted.records, wanted.seed)
        if segment.source is None
        else taking.polled(segment.source, wanted.records)
        for segment in logs
    }


@dataclass(frozen=True)
class _Side:
    """One of the two runs: its ground with the input in it, what it is called, what it leaves."""

    name: str
    laid: ground.Ground
    left: Remains
    log: Path

    def run(self, wanted: Comparison) -> None:
        wanted.said(f"running on {self.name}")
        environment = {
            **self.laid.environment,
            "PENSTOCK_PROFILE": wanted.profile,
            REFERENCE: "1" if self.log.stem == "first" else "",
        }
        with children.running(wanted.program, environment, self.log, "--no-sources") as child:
            _await(child, self.name, self.log)


@contextmanager
def _laid(wanted: Comparison, profile: Profile, taken: Recording, folder: Path) -> Iterator[_Side]:
    """Lay the ground of a run, and write the input to its logs; it is gone after the block."""
    name = REFERENCE_NAME if folder.name == "first" else wanted.profile
    folder.mkdir()
    namespace = f"parity_{uuid.uuid4().hex[:8]}"
    with ground.laid(profile, folder, namespace, ()) as laid:
        pipeline = laid.load(wanted.program)
        segments = plan.compile(pipeline, formats.codecs(laid.profile))
        prefix = f"{laid.namespace}_" if laid.namespace else ""
        with Systems(laid.profile, pipeline.name, laid.root) as systems:
            left = Remains(systems, pipeline.name, segments, prefix)
            _fill(left, taken)
            yield _Side(name, laid, left, folder.parent / f"{folder.name}.log")


def _fill(left: Remains, taken: Recording) -> None:
    """Write the input to the logs of a ground; a row is written in its topic's format."""
    for segment in left.segments:
        log = taken.get(left.name(segment.name))
        if log is None:
            continue
        records = log.records
        if records["row"].any():
            records = _encoded(segment, records)
        fill(left.systems, segment, log.partitions, [records.drop("row")])


def _encoded(segment: Segment, records: pl.DataFrame) -> pl.DataFrame:
    segment.codec.register(segment.spec)
    documents = records.with_row_index("at").filter(pl.col("row"))
    decoded = contract.decode(segment.spec, documents["value"])
    if decoded.failures:
        cause = decoded.failures[0].cause
        raise DeclarationError(
            f"a row of the input does not fit the contract of {segment.name!r}: "
            f"{' '.join(filter(None, [cause.field, cause.rule, cause.value]))}"
        )
    values = dict(
        zip(documents["at"], segment.codec.encode(segment.spec, decoded.rows), strict=True)
    )
    written = [values.get(at, value) for at, value in enumerate(records["value"])]
    return records.with_columns(pl.Series("value", written, pl.Binary))


def _await(child: subprocess.Popen[bytes], name: str, log: Path) -> None:
    """Wait for the end of a run; what stops it is an error of the same exit code."""
    try:
        code = child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"the run on {name} did not end within {_PATIENCE:.0f} s; its last words:\n"
            f"{children.last_words(log)}"
        ) from None
    if code:
        kinds = {ProfileError.exit_code: ProfileError, Unavailable.exit_code: Unavailable}
        raise kinds.get(code, Refused)(
            f"the run on {name} ended with code {code}; its last words:\n{children.last_words(log)}"
        )


class _Comparing:
    """Compares two runs lane by lane, in the order in which records flow."""

    def __init__(self, result: Result, first: Remains, second: Remains) -> None:
        self._result = result
        self._first = first
        self._second = second
        self._matched: dict[str, Matched] = {}
        self._ordered: set[str] = set()

    def run(self) -> None:
        lanes = list(zip(self._first.lanes(), self._second.lanes(), strict=True))
        for (segment, lane), (_, other) in lanes:
            name = self._first.name(lane.name)
            if name in self._result.lanes:
                continue  # another stream that is merged into the same topic
            self._result.lanes[name] = found = LaneResult(name)
            if lane.store == LOG_STORE:
                found.compared = self._topic(name, segment, lane, other)
        for (segment, lane), (_, other) in lanes:
            if lane.store != LOG_STORE:
                name = self._first.name(lane.name)
                self._result.lanes[name].compared = self._table(segment, lane, other)
        self._letters()
        self._counts({self._first.name(lane.name): lane for (_, lane), _ in lanes})

    def _topic(self, name: str, segment: Segment, lane: Lane, other: Lane) -> int:
        first, second = self._first.topic(lane), self._second.topic(other)
        allowed = self._allowed(segment, lane)
        matched = comparing.topics(name, first, second, allowed)
        self._matched[self._first.name(lane.table)] = matched
        if allowed.ordered:
            self._ordered.add(self._first.name(lane.table))
        self._result.add(name, matched.differences)
        if matched.racing.len():
            several = "streams" if lane.shared else "partitions"
            self._result.notes.append(
                f"lane {name}: {matched.racing.len()} keys come from several {several}; the order "
                "of their records depends on timing and is not compared, nor is what upserts keep"
            )
        return first.height

    def _allowed(self, segment: Segment, lane: Lane) -> Sameness:
        """How the records of a topic may differ: its writer may not read them in one order."""
        if lane.shared:
            return Sameness(ordered=False, placed=bool(lane.key) or lane.partitions == 1)
        source = self._first.name(segment.name)
        before = self._matched.get(source)
        log = self._keys(segment)
        origins = log.group_by("key").agg(origins=pl.col("partition").n_unique())
        if before is not None:
            turned = pl.col("key").is_in(before.racing.implode())
            origins = origins.with_columns(
                pl.when(turned).then(2).otherwise("origins").alias("origins")
            )
        ordered = log["partition"].n_unique() <= 1 and (before is None or source in self._ordered)
        # Without a key, a topic's partition is chosen by the offset, which has gaps in Kafka.
        placed = bool(lane.key) or lane.partitions == 1 or before is None
        return Sameness(ordered=ordered and placed, placed=placed, origins=origins)

    def _keys(self, segment: Segment) -> pl.DataFrame:
        """Keys and partitions of the log that a segment reads."""
        with closing(self._first.systems.log(segment)) as log:
            found = [records.select("key", "partition") for records in pages(log)]
        return pl.concat([pl.DataFrame(schema={"key": pl.Binary, "partition": pl.Int32}), *found])

    def _table(self, segment: Segment, lane: Lane, other: Lane) -> int:
        first, second = self._first.table(lane), self._second.table(other)
        matched = self._matched.get(self._first.name(segment.name))
        if matched is not None and lane.mode == "upsert":
            first, second = (
                rows.filter(~pl.col("key").is_in(matched.racing.implode()))
                for rows in (first, second)
            )
        elif matched is not None:
            second = comparing.moved(second, matched.places)
        self._result.add(lane.name, comparing.tables(lane.name, first, second))
        return first.height

    def _letters(self) -> None:
        first, second = self._first.letters(), self._second.letters()
        parts = [
            comparing.moved(part, matched.places)
            if (matched := self._matched.get(str(segment)))
            else part
            for (segment,), part in second.group_by("segment", maintain_order=True)
        ]
        for one in comparing.letters(first, pl.concat([second.clear(), *parts])):
            self._result.add(one.lane, [one])
        for lane, count in Counter(first["lane"]).items():
            self._result.lanes[lane].dead = count

    def _counts(self, lanes: Mapping[str, Lane]) -> None:
        first, second = self._first.counts(), self._second.counts()
        for name, lane in lanes.items():
            pair = (one.get(name, Counts()) for one in (first, second))
            upsert = lane.mode == "upsert"
            self._result.add(name, comparing.counts(name, *pair, upsert=upsert))
