"""What runs on an executor: a slice of a micro-batch after the other, decoded, planned, staged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, cast

import polars as pl
import pyarrow as pa

from penstock import plan
from penstock.contract import masking
from penstock.engines import part
from penstock.engines.planning import Planning
from penstock.engines.spark import messages, shipping, slips
from penstock.engines.spark.slips import Share, Slip
from penstock.engines.systems import Systems
from penstock.errors import PenstockError, Refused
from penstock.home.letters import about
from penstock.interfaces import Apart
from penstock.records import LaneKey
from penstock.serdes.formats import codecs

if TYPE_CHECKING:
    from penstock.engines.spark.shipping import Shipped
    from penstock.plan import LaneOutcome, MicroBatch, Segment
    from penstock.profile import Profile
    from penstock.records import Receipt


@dataclass(frozen=True)
class Duty:
    """What tasks need to know for all of a run; one object for each segment's plan.

    Args:
        shipped: Where the program is.
        profile: The systems, as executors reach them.
        segment: Which segment.
        variant: As in `Options`.
        fingerprint: Of the plan in the driver.
        keys: What shows that its masks have the same keys there and here; not the keys.
    """

    shipped: Shipped
    profile: Profile = field(hash=False, repr=False)
    segment: str
    variant: int
    fingerprint: str
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Task:
    """Works on its share of one micro-batch; travels to the executors.

    Args:
        duty: What goes for the whole run.
        key: Of the lanes: pipeline, log, segment.
        starts: For each lane that takes part where it stands.
        bases: Order bases of the log's partitions.
        places: For lanes whose rows are staged where they are made: what `Apart.lay` gave.
    """

    duty: Duty
    key: LaneKey
    starts: Mapping[str, Mapping[int, int]]
    bases: Mapping[int, int]
    places: Mapping[str, str]

    def run(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield a slip for each slice; Spark calls it with what it read from Kafka."""
        for batch in batches:
            if batch.num_rows:
                yield pa.RecordBatch.from_pydict({"slip": [self._slip(batch)]})

    def _slip(self, batch: pa.RecordBatch) -> bytes:
        try:
            return slips.encoded(self._worked(messages.micro_batch(batch, self.bases)))
        except PenstockError as error:
            return slips.failed(error)

    def _worked(self, micro: MicroBatch) -> Slip:
        segment, planning = _loaded(self.duty)
        segment.codec.prepare(micro.records)
        outcome = planning.run(micro, self.starts)
        return Slip(
            spans=dict(micro.spans),
            tails=part.tails(micro),
            size=int(micro.records["value"].bin.size().sum()),
            shares={name: self._share(name, one) for name, one in outcome.lanes.items()},
            letters=list(outcome.letters),
            records=slips.frame_bytes(segment.plan.withhold(about(micro.records, outcome.letters))),
        )

    def _share(self, lane: str, outcome: LaneOutcome) -> Share:
        """What a lane gets: rows that are staged here, or that the driver shall stage."""
        counts, place = dict(outcome.counts), self.places.get(lane)
        if place is not None and outcome.rows.height:
            receipt = self._staged(replace(self.key, lane=lane), place, outcome.rows)
            if receipt is not None:
                born = outcome.rows.select("_partition", "_born")
                return Share(counts, receipt=receipt, born=slips.frame_bytes(born))
        return Share(counts, slips.frame_bytes(outcome.rows))

    def _staged(self, key: LaneKey, place: str, rows: pl.DataFrame) -> Receipt | None:
        """Stage rows; None when the store does not let us: the driver will meet it and judge."""
        sink = _sink(self.duty, key)
        try:
            return sink.stage_apart(place, rows)
        except PenstockError:
            _sinks.pop(key).close()
            return None


_sinks: dict[LaneKey, Apart] = {}
"""Open sinks of this process: a connection serves many micro-batches."""


def _sink(duty: Duty, key: LaneKey) -> Apart:
    if key not in _sinks:
        segment, _ = _loaded(duty)
        sink = Systems(duty.profile, key.pipeline).sink(segment.lane(key.lane), key)
        _sinks[key] = cast("Apart", sink)
    return _sinks[key]


@cache
def _loaded(duty: Duty) -> tuple[Segment, Planning]:
    """Load the program and compile its segment, once for each process of an executor."""
    pipeline = shipping.load(duty.shipped)
    segments = plan.compile(pipeline, codecs(duty.profile))
    segment = next((one for one in segments if one.name == duty.segment), None)
    if segment is None or segment.plan.fingerprint != duty.fingerprint:
        raise Refused(
            f"the program on the executors is another one than the driver's: the plan of "
            f"{duty.segment!r} differs. Does it depend on the machine or its environment? "
            "Are Python and its libraries the same there? `penstock check` compares them"
        )
    masking.verify(segment.spec, dict(duty.keys))
    return segment, Planning(segment, None, duty.variant)
