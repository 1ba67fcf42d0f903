"""What a running pipeline tells the outside: the state of each lane and source, and events."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import Any

from penstock.home.latency import Histogram
from penstock.records import Counts

_LATENCY_WINDOW = 10.0
_LATENCY_WINDOWS = 6


class State(StrEnum):
    """What a lane or a source is doing."""

    STARTING = "starting"
    RUNNING = "running"
    CATCHING_UP = "catching up"
    WAITING = "waiting"
    STANDING_BY = "standing by"
    FINISHED = "finished"
    STOPPED = "stopped"


_LEVELS = {State.WAITING: "warning", State.STOPPED: "error"}


@dataclass(frozen=True)
class Event:
    """Something that happened and is worth a line: `name` is stable, `message` is for people."""

    name: str
    message: str
    level: str = "info"
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


Listener = Callable[[Event], None]
"""Called with each event, on the thread where it happened; must return quickly."""


@dataclass(frozen=True)
class LaneStatus:
    """A lane at one moment.

    Args:
        segment: The log that the lane's segment reads.
        lane: The lane's name, `table@store`.
        state: What it is doing.
        reason: Why it waits or stands by, in words; empty otherwise.
        since: When it entered this state.
        lag: Records in the log that the lane has not taken yet; None before that is known.
        counts: What became of the records since the start of this run.
        p50: Median time from born to visible in seconds over the last minute; None before any.
        p99: The 99th percentile of the same.
    """

    segment: str
    lane: str
    state: State
    reason: str
    since: datetime
    lag: int | None
    counts: Counts
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class SourceStatus:
    """A source at one moment: `responses` and `bytes` landed since the start of this run."""

    landing: str
    source: str
    state: State
    reason: str
    since: datetime
    responses: int
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """All lanes and sources of the process at one moment, in the program's order."""

    sources: tuple[SourceStatus, ...]
    lanes: tuple[LaneStatus, ...]


class _Stateful:
    def __init__(self) -> None:
        self.state = State.STARTING
        self.reason = ""
        self.since = datetime.now(UTC)

    def enter(self, state: State, reason: str) -> bool:
        """Change the state; False when nothing changed."""
        if (state, reason) == (self.state, self.reason):
            return False
        if state is not self.state:
            self.since = datetime.now(UTC)
        self.state, self.reason = state, reason
        return True


class _LaneMeter(_Stateful):
    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.lag: int | None = None
        self.latencies: deque[tuple[float, Histogram]] = deque()

    def moved(self, counts: Counts, latency: Histogram) -> None:
        now = time.monotonic()
        self.counts += counts
        if not self.latencies or now - self.latencies[-1][0] > _LATENCY_WINDOW:
            self.latencies.append((now, Histogram()))
            if len(self.latencies) > _LATENCY_WINDOWS:
                self.latencies.popleft()
        self.latencies[-1][1].merge(latency)

    def percentiles(self) -> tuple[float | None, float | None]:
        total = Histogram()
        for _, histogram in self.latencies:
            total.merge(histogram)
        return total.percentile(0.5), total.percentile(0.99)


class _SourceMeter(_Stateful):
    def __init__(self, describe: str) -> None:
        super().__init__()
        self.describe = describe
        self.responses = 0
        self.bytes = 0


class Board:
    """Where the threads of a run write what they do, and the screen reads it. Thread-safe."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._lock = Lock()
        self._lanes: dict[tuple[str, str], _LaneMeter] = {}
        self._sources: dict[str, _SourceMeter] = {}
        self._former: dict[Any, Any] = {}

    def add_lane(self, segment: str, lane: str) -> None:
        """Show a lane from now on."""
        with self._lock:
            self._lanes[segment, lane] = self._former.pop((segment, lane), None) or _LaneMeter()
            self._lanes[segment, lane].enter(State.STARTING, "")

    def add_source(self, landing: str, describe: str) -> None:
        """Show a source from now on."""
        with self._lock:
            self._sources[landing] = self._former.pop(landing, None) or _SourceMeter(describe)
            self._sources[landing].describe = describe
            self._sources[landing].enter(State.STARTING, "")

    def begin_anew(self) -> None:
        """Show nothing until it is added again; what is, keeps its counts."""
        with self._lock:
            self._former = self._former | self._lanes | self._sources
            self._lanes, self._sources = {}, {}

    def say(self, name: str, message: str, level: str = "info", **fields: object) -> None:
        """Pass an event to the listener."""
        if self._listener is not None:
            self._listener(Event(name, message, level, fields))

    def lane(self, segment: str, lane: str, state: State, reason: str = "") -> None:
        """A lane entered a state; said as an event when it is a change."""
        with self._lock:
            changed = self._lanes[segment, lane].enter(state, reason)
        if changed:
            self._state(f"lane {lane}", state, reason, segment=segment, lane=lane)

    def source(self, landing: str, state: State, reason: str = "") -> None:
        """A source entered a state; said as an event when it is a change."""
        with self._lock:
            changed = self._sources[landing].enter(state, reason)
        if changed:
            self._state(f"source of {landing}", state, reason, landing=landing)

    def _state(self, who: str, state: State, reason: str, **fields: object) -> None:
        level = _LEVELS.get(state, "info")
        message = f"{who} is {state}" + (f": {reason}" if reason else "")
        self.say(state.name.lower(), message, level, reason=reason, **fields)

    def moved(self, segment: str, lane: str, counts: Counts, latency: Histogram) -> None:
        """A lane committed a micro-batch."""
        with self._lock:
            self._lanes[segment, lane].moved(counts, latency)

    def lag(self, segment: str, lane: str, records: int | None) -> None:
        """So many records wait for a lane; None when nobody looks any more."""
        with self._lock:
            self._lanes[segment, lane].lag = records

    def landed(self, landing: str, size: int) -> None:
        """A source's response of `size` bytes is committed."""
        with self._lock:
            meter = self._sources[landing]
            meter.responses += 1
            meter.bytes += size

    def snapshot(self) -> Snapshot:
        """Read everything at one moment."""
        with self._lock:
            return Snapshot(
                sources=tuple(
                    SourceStatus(name, m.describe, m.state, m.reason, m.since, m.responses, m.bytes)
                    for name, m in self._sources.items()
                ),
                lanes=tuple(
                    LaneStatus(
                        *key,
                        m.state,
                        m.reason,
                        m.since,
                        m.lag,
                        m.counts,
                        *m.percentiles(),
                    )
                    for key, m in self._lanes.items()
                ),
            )
