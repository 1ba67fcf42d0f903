"""What a run did: the ledger's difference between its end and its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.cli import drawing, text
from penstock.engines.status import State
from penstock.home import ledger
from penstock.records import Counts, LaneKey

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.engines.status import LaneStatus, Snapshot
    from penstock.engines.systems import Systems

Tails = Mapping[tuple[LaneKey, int], ledger.Tail]


@dataclass(frozen=True)
class Done:
    """What became of one lane's records since the start of the run."""

    offsets: int = 0
    counts: Counts = field(default_factory=Counts)

    @property
    def balanced(self) -> bool:
        """Whether every offset and every record is accounted for."""
        held = self.counts.records + self.counts.absent
        return held == self.offsets and self.counts.balanced


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Args:
        pipeline: The pipeline's name.
        seconds: How long it ran.
        snapshot: What the engine said last.
        lanes: What the ledger says, by segment and lane.
    """

    pipeline: str
    seconds: float
    snapshot: Snapshot
    lanes: Mapping[tuple[str, str], Done]

    @property
    def balanced(self) -> bool:
        """Whether all lanes balance."""
        return all(done.balanced for done in self.lanes.values())

    def done(self, lane: LaneStatus) -> Done:
        """What the ledger says of a lane of the engine."""
        return self.lanes.get((lane.segment, lane.lane), Done())


def tails(systems: Systems, pipeline: str) -> Tails:
    """Read where the ledger of each lane ends. Raises `Unavailable`."""
    with systems.home("summary") as home, home.transaction() as cursor:
        return ledger.tails(cursor, pipeline)


def between(before: Tails, after: Tails) -> dict[tuple[str, str], Done]:
    """Reckon what was done between two readings, by segment and lane."""
    nothing = ledger.Tail(0, Counts())
    done: dict[tuple[str, str], Done] = {}
    for (key, partition), tail in after.items():
        earlier = before.get((key, partition), nothing)
        so_far = done.get((key.segment, key.lane), Done())
        done[key.segment, key.lane] = Done(
            so_far.offsets + tail.next - earlier.next,
            so_far.counts + tail.totals - earlier.totals,
        )
    return done


def document(summary: Summary) -> dict[str, Any]:
    """The summary as `run --json` prints it."""
    return {
        "pipeline": summary.pipeline,
        "seconds": round(summary.seconds, 3),
        "balanced": summary.balanced,
        "sources": [
            {
                "landing": source.landing,
                "source": source.source,
                "state": str(source.state),
                "reason": source.reason,
                "responses": source.responses,
                "bytes": source.bytes,
            }
            for source in summary.snapshot.sources
        ],
        "lanes": [_lane(lane, summary.done(lane)) for lane in summary.snapshot.lanes],
    }


def _lane(lane: LaneStatus, done: Done) -> dict[str, Any]:
    return {
        "segment": lane.segment,
        "lane": lane.lane,
        "state": str(lane.state),
        "reason": lane.reason,
        "lag": lane.lag,
        "p50": lane.p50,
        "p99": lane.p99,
        "balanced": done.balanced,
        "counts": asdict(done.counts),
    }


def drawn(summary: Summary) -> RenderableType:
    """The summary for people."""
    from rich.console import Group
    from rich.text import Text

    landed = [
        f"{source.landing}: landed {text.count(source.responses)} responses, "
        f"{text.count(source.bytes)} bytes from {source.source}"
        for source in summary.snapshot.sources
    ]
    parts: list[RenderableType] = [Text(line) for line in landed]
    if summary.snapshot.lanes:
        parts += [_table(summary), Text(_verdict(summary))]
    return Group(*parts)


def _table(summary: Summary) -> RenderableType:
    lanes = {lane: summary.done(lane).counts for lane in summary.snapshot.lanes}
    fates = text.fates(lanes.values())
    table = drawing.table("lane", "records", *fates, "to go", right=("records", *fates, "to go"))
    names = text.names((lane.segment, lane.lane) for lane in lanes)
    for lane, counts in lanes.items():
        figures = [text.records(counts), *(getattr(counts, fate) for fate in fates), lane.lag]
        table.add_row(drawing.words(names[lane.segment, lane.lane]), *map(text.count, figures))
    return table


def _verdict(summary: Summary) -> str:
    wrong = [
        f"{lane} of {segment}" for (segment, lane), d in summary.lanes.items() if not d.balanced
    ]
    if wrong:
        return f"NOT balanced: {', '.join(wrong)}; `penstock reconcile` names the difference"
    dead = sum(done.counts.dead for done in summary.lanes.values())
    hint = "; `penstock deadletters list` groups the dead letters by cause" if dead else ""
    verdict = "balanced: every record is accounted for"
    if any(lane.state in (State.STOPPED, State.WAITING) for lane in summary.snapshot.lanes):
        verdict = "balanced as far as it came: every record taken is accounted for"
    return f"{verdict}, in {text.seconds(summary.seconds)}{hint}"
