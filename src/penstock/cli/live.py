"""The live table of `run` and `ingest`: a row for each source and lane, drawn twice a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING

from penstock.cli import drawing, text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from penstock.engines.status import LaneStatus, Snapshot

INTERVAL = 0.5
"""Seconds between two drawings."""

_STYLES = {
    "running": "green",
    "catching up": "yellow",
    "waiting": "bold red",
    "standing by": "cyan",
    "finished": "dim",
}


class Rates:
    """Records per second of each lane over the last seconds, from one snapshot to the next."""

    def __init__(self, window: float = 5.0, now: Callable[[], float] = monotonic) -> None:
        self._window = window
        self._now = now
        self._seen: dict[tuple[str, str], list[tuple[float, int]]] = {}

    def of(self, lane: LaneStatus) -> float:
        """Take a lane's count into account and return its rate."""
        seen = self._seen.setdefault((lane.segment, lane.lane), [])
        seen.append((self._now(), text.records(lane.counts)))
        while len(seen) > 2 and seen[1][0] <= seen[-1][0] - self._window:
            del seen[0]
        (before, first), (now, last) = seen[0], seen[-1]
        return (last - first) / (now - before) if now > before else 0.0


def picture(snapshot: Snapshot, rates: Rates) -> RenderableType:
    """Draw what a running pipeline does at one moment.

    Args:
        snapshot: What the engine says.
        rates: Where the records per second are reckoned from; the same for each picture.
    """
    from rich.console import Group

    sources = [_sources(snapshot)] if snapshot.sources else []
    return Group(*sources, *([_lanes(snapshot, rates)] if snapshot.lanes else []))


def _sources(snapshot: Snapshot) -> Table:
    figures = ("responses", "bytes")
    drawn = drawing.table("source", "lands in", *figures, "state", right=figures, wrap=["state"])
    for source in snapshot.sources:
        drawn.add_row(
            drawing.words(source.source),
            drawing.words(source.landing),
            text.count(source.responses),
            text.count(source.bytes),
            _state(source.state, source.reason, source.since),
        )
    return drawn


def _lanes(snapshot: Snapshot, rates: Rates) -> Table:
    figures = ("records", "records/s", "lag", "p50", "p99", "dead")
    drawn = drawing.table("lane", *figures, "state", right=figures, wrap=["state"])
    names = text.names((lane.segment, lane.lane) for lane in snapshot.lanes)
    for lane in snapshot.lanes:
        drawn.add_row(
            drawing.words(names[lane.segment, lane.lane]),
            text.count(text.records(lane.counts)),
            text.rate(rates.of(lane)),
            text.count(lane.lag),
            text.seconds(lane.p50),
            text.seconds(lane.p99),
            drawing.words(text.count(lane.counts.dead), "red" if lane.counts.dead else ""),
            _state(lane.state, lane.reason, lane.since),
        )
    return drawn


def _state(state: str, reason: str, since: datetime) -> Text:
    said = f"{state} since {since.astimezone():%H:%M:%S}: {reason}" if reason else str(state)
    return drawing.words(said, _STYLES.get(str(state), ""))


@contextmanager
def shown(snapshot: Callable[[], Snapshot]) -> Iterator[None]:
    """Keep the table on the terminal (stderr) while the body runs; log lines scroll above it.

    Args:
        snapshot: Called on a thread of its own, twice a second.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, highlight=False)
    ended = threading.Event()
    rates = Rates()
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as screen:

        def redraw() -> None:
            while not ended.wait(INTERVAL):
                screen.update(picture(snapshot(), rates), refresh=True)

        thread = threading.Thread(target=redraw, name="live-table", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            screen.update(picture(snapshot(), rates), refresh=True)
