"""The one action of a micro-batch: tasks on the executors, and what they bring back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from penstock.contract import masking
from penstock.engines.spark import failures, slips
from penstock.engines.spark.slips import Gathered
from penstock.engines.spark.task import Duty, Task
from penstock.errors import Unavailable
from penstock.records import LaneKey

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.engines.moving import Place
    from penstock.engines.spark.session import Cluster
    from penstock.home.batches import OpenBatch
    from penstock.interfaces import Apart


class Tasks:
    """Runs the tasks of micro-batches.

    Args:
        place: The segment and its surroundings.
        cluster: Where they run.
        log_id: Identity of the segment's log.
        bases: Order bases of the log's partitions.
    """

    def __init__(
        self,
        place: Place,
        cluster: Cluster,
        log_id: str,
        bases: Mapping[int, int],
    ) -> None:
        self._place = place
        self._cluster = cluster
        self._key = LaneKey(place.pipeline, log_id, place.segment.name, "")
        self._bases = dict(bases)
        self._layers = self._laying()
        self._duty = Duty(
            cluster.shipped,
            place.systems.for_executors(),
            place.segment.name,
            place.options.variant,
            place.segment.plan.fingerprint,
            tuple(masking.keys(place.segment.spec).items()),
        )

    def _laying(self) -> dict[str, Apart]:
        """Sinks that make room for what executors stage."""
        sinks = {
            lane.name: self._place.systems.sink(lane, replace(self._key, lane=lane.name))
            for lane in self._place.segment.lanes
        }
        return {n: cast("Apart", sink) for n, sink in sinks.items() if sink.capabilities.apart}

    @property
    def number(self) -> int:
        """How many tasks a micro-batch has, at most."""
        return self._place.systems.spark.partitions or max(1, self._cluster.cores)

    def run(
        self, frame: DataFrame, batch: OpenBatch, starts: Mapping[str, Mapping[int, int]]
    ) -> Gathered:
        """Run the tasks of a micro-batch.

        Args:
            frame: Its records, `messages.COLUMNS`.
            batch: As home has it.
            starts: For each lane that takes part where it stands.

        Raises:
            PenstockError: As a task raised it, or as Spark's failure is called in our words.
        """
        spans = batch.spans
        here = {
            name: {p: at for p, at in positions.items() if p in spans}
            for name, positions in starts.items()
        }
        task = Task(self._duty, self._key, here, self._bases, self._places(batch))
        try:
            done = frame.coalesce(self.number).mapInArrow(task.run, slips.SCHEMA).toArrow()
        except Exception as error:
            raise failures.translate(error) from error
        return Gathered(self._place.segment, spans, slips.read(done["slip"].to_pylist()))

    def _places(self, batch: OpenBatch) -> dict[str, str]:
        """Make room for the rows of a large micro-batch; those of a small one come back."""
        if sum(len(span) for span in batch.spans.values()) <= self._place.systems.spark.inline:
            return {}
        partition, epoch = min(batch.epochs.items())
        places = {}
        for name in self._layers.keys() & set(batch.lanes):
            with suppress(Unavailable):  # its rows come back, and then the lane waits alone
                places[name] = self._layers[name].lay(batch.id, partition, epoch)
        return places

    def close(self) -> None:
        """Release connections."""
        for sink in self._layers.values():
            sink.close()
