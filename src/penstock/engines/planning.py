"""Runs a segment's plan for the engine: watches that maps are row-wise, isolates what kills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.engines import worker
from penstock.plan import MicroBatch

if TYPE_CHECKING:
    from penstock.home.batches import OpenBatch
    from penstock.plan import Outcome, Segment

WATCHED = 3
"""So many micro-batches at the start of a run are tried in parts and in another order, too."""

SAMPLE = 1_000
"""Records of a micro-batch that are tried so."""


class Planning:
    """The plan of one segment. Threads of several groups may use it.

    Args:
        segment: Whose plan.
    """

    def __init__(self, segment: Segment) -> None:
        self._plan = segment.plan
        self._watched = 0
        self.fingerprint = segment.plan.fingerprint

    def __call__(
        self, micro: MicroBatch, batch: OpenBatch, starts: Mapping[str, worker.Starts]
    ) -> Outcome:
        """Run the plan over a batch for lanes that stand at `starts`.

        Raises:
            PlanFailed: The code is at fault: it fails whole, or is not row-wise.
        """
        if self._watched < WATCHED and not micro.replay:
            self._watched += 1
            self._plan.rowwise(MicroBatch(micro.spans, micro.records.head(SAMPLE)))
        return worker.run(self._plan, micro, starts)
