"""Where a group of lanes gets its micro-batches from, planned: this process, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from penstock.engines.part import Tail, tails

if TYPE_CHECKING:
    from penstock.engines.channel import Channel
    from penstock.engines.flow import Flow
    from penstock.home.batches import OpenBatch
    from penstock.plan import MicroBatch, Outcome


@dataclass(frozen=True)
class Planned:
    """An open batch and what it gives.

    Args:
        batch: As home has it.
        micro: What was read; of a batch that was planned elsewhere only the records that letters
            are about.
        outcome: What it gives to each lane.
        tails: For each partition its last record.
    """

    batch: OpenBatch
    micro: MicroBatch
    outcome: Outcome
    tails: Mapping[int, Tail]

    @classmethod
    def here(cls, batch: OpenBatch, micro: MicroBatch, outcome: Outcome) -> Planned:
        """Take what was planned in this process."""
        return cls(batch, micro, outcome, tails(micro))


class Supply(Protocol):
    """Reads, opens and plans micro-batches, ahead of the thread that commits them.

    Life of a supply: `start`, then `end`, both on the committing thread.
    """

    flow: Flow
    """Told by the group when a micro-batch has become visible."""

    last: int
    """How many offsets the last micro-batch had."""

    def start(self, out: Channel[Planned], proceed: Callable[[], bool]) -> None:
        """Begin, on threads of its own.

        Args:
            out: Where planned micro-batches go, in order; ended when `proceed` said no, and with
                the error when one occurred.
            proceed: Asked before each read.
        """

    def end(self) -> None:
        """Stop, and return when all threads are gone; the flow was abandoned before."""
