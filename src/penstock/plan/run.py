"""Running a plan: decode, walk the tree of steps once, give each lane its rows and counts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from penstock.contract import masking
from penstock.errors import PlanFailed, ProfileError
from penstock.interfaces import Framing
from penstock.plan import fingerprint, rowwise
from penstock.plan.model import Lane, LaneOutcome, MicroBatch, Outcome
from penstock.plan.walk import Run
from penstock.plan.withhold import withhold
from penstock.records import Letter
from penstock.serdes.codec import PLAIN_JSON, Codec
from penstock.transforms import Computation, Explode, Filter, Map, Transform

if TYPE_CHECKING:
    from penstock.contract import ContractSpec


@dataclass(frozen=True, eq=False)
class Point:
    """A place between steps: lanes that take the rows here, and the steps that go on."""

    lanes: tuple[Lane, ...]
    branches: tuple[tuple[Transform, Point], ...]

    @cached_property
    def reach(self) -> frozenset[str]:
        """Names of all lanes that rows of this place can get to."""
        below = (point.reach for _, point in self.branches)
        return frozenset(lane.name for lane in self.lanes).union(*below)

    def all_lanes(self) -> Iterator[Lane]:
        """Yield every lane from here on."""
        yield from self.lanes
        for _, point in self.branches:
            yield from point.all_lanes()

    def steps(self) -> Iterator[Transform]:
        """Yield every step from here on, once each."""
        for step, point in self.branches:
            yield step
            yield from point.steps()


@dataclass(frozen=True, eq=False)
class Plan:
    """A segment's pure function from a micro-batch to the rows of each lane and the dead letters.

    Any thread may run it, several at once too. It does no I/O and reads no clock.

    Args:
        spec: The contract of the log's records.
        framing: How records lie in a value.
        key: Key columns of what the log may delete: of the topic, or of a landing of changes; empty
            for another log.
        root: The place after decoding.
        codec: What decodes the values; it was prepared for the records that the plan runs over.
    """

    spec: ContractSpec
    framing: Framing
    key: tuple[str, ...]
    root: Point
    codec: Codec = PLAIN_JSON

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the contracts, the code of the maps and the expressions of the filters."""
        return fingerprint.digest(self._parts())

    @cached_property
    def rows(self) -> ContractSpec:
        """The contract of the rows at the root: as decoded, then masked."""
        return self.spec.masked

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """All lanes of the segment."""
        return tuple(self.root.all_lanes())

    @cached_property
    def explodes(self) -> bool:
        """Whether a record of the log can give rows of several levels."""
        return any(isinstance(step, Explode) for step in self.root.steps())

    def run(self, batch: MicroBatch, lanes: Collection[str]) -> Outcome:
        """Compute what a micro-batch gives to some of the lanes.

        Args:
            batch: Records; those of a replay batch go only to the lanes they name.
            lanes: Names of the lanes to compute.

        Raises:
            PlanFailed: The code is at fault, not a record.
        """
        if not batch.replay:
            return Run(self, batch.spans, batch.records, frozenset(lanes)).outcome()
        done: dict[str, LaneOutcome] = {}
        letters: list[Letter] = []
        for lane in lanes:
            own = batch.records.filter(pl.col("lanes").list.contains(lane))
            outcome = Run(self, batch.spans, own, frozenset([lane])).outcome()
            done.update(outcome.lanes)
            letters += outcome.letters
        return Outcome(done, letters)

    def withhold(self, records: pl.DataFrame) -> pl.DataFrame:
        """Rewrite records of the log for their dead letters, where fields are masked."""
        return withhold(self.spec, self.framing, self.key, records)

    def check(self) -> list[str]:
        """Run maps, filters and constraints on made-up rows; return what is wrong, one by one."""
        try:
            masking.keys(self.spec)
        except ProfileError as error:
            return [str(error)]
        steps = map(rowwise.check, self._computations())
        contracts = dict.fromkeys([self.spec, *(step.output for step in self.root.steps())])
        rules = map(rowwise.check_rules, contracts)
        return [finding for finding in (*steps, *rules) if finding]

    def rowwise(self, batch: MicroBatch) -> None:
        """Run every map and filter on the whole batch, in parts and in another order.

        Raises:
            PlanFailed: A row's result depends on its neighbours, on a clock or on chance.
        """

        def watch(step: Computation, rows: pl.DataFrame) -> None:
            if found := rowwise.difference(step, rows):
                raise PlanFailed(found)

        Run(self, batch.spans, batch.records, self.root.reach, watch).outcome()

    def _computations(self) -> Iterator[Computation]:
        return (step for step in self.root.steps() if isinstance(step, Map | Filter))

    def _parts(self) -> Iterator[str]:
        yield self.spec.fingerprint
        yield repr((self.framing, self.key))
        yield from _place(self.root)


def _place(point: Point) -> Iterator[str]:
    for lane in point.lanes:
        yield repr((lane.name, lane.mode, lane.key))
    for step, after in point.branches:
        yield "("
        yield from fingerprint.step(step)
        yield from _place(after)
        yield ")"
