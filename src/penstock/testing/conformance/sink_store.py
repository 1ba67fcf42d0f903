"""The store that the checks of sinks write to, and the steps that most of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import polars as pl

from penstock.interfaces import Sink
from penstock.plan import Lane
from penstock.records import LaneKey, Progress
from penstock.testing.conformance.subjects import KEY, Person, lane, people, steps

THREE = people((1, "a@x", 10), (2, "b@x", None), (3, None, 30))


class SinkStore(ABC):
    """A store under test, empty at the start of each check.

    Args:
        mode: The mode of the lanes that the checks make: `upsert`, `append` or `topic`.
    """

    mode = "append"

    tells_late = True
    """Whether the store tells a row that came too late from one that it wrote."""

    mends = False
    """Whether a sink may mend a broken connection by itself, within one commit."""

    writes_at_once = False
    """Whether rows that are staged apart are seen before their commit."""

    def takes_name(self, name: str) -> bool:
        """Whether the store can have a table of this name; `open` refuses one that it cannot."""
        return True

    @abstractmethod
    def sink(self, lane: Lane, key: LaneKey) -> Sink:
        """Make a sink onto this store, as another process would; not opened yet."""

    def visible(self, lane: Lane) -> pl.DataFrame:
        """Return the contract's columns of every row that a reader of the store sees."""
        reader = self.sink(lane, KEY)
        try:
            frames = [frame.select(lane.spec.polars.names()) for frame in reader.positions()]
        finally:
            reader.close()
        return pl.concat([pl.DataFrame(schema=lane.spec.polars), *frames])

    def reject(self, lane: Lane, email: str) -> None:
        """Make the opened table take no row with this `email` from now on."""
        raise NotImplementedError

    def exclude(self, lane: Lane) -> None:
        """Make the opened table take no two rows with the same `email` from now on."""
        raise NotImplementedError

    def cut(self) -> None:
        """Break the connections of every sink at once; new ones work."""
        raise NotImplementedError


def lane_of(store: SinkStore) -> Lane:
    """Make the lane that most checks use."""
    return lane(Person, store.mode)


def open_sink(store: SinkStore) -> Sink:
    """Make a sink of that lane and open it."""
    made = store.sink(lane_of(store), KEY)
    made.open()
    return made


def write_first(sink: Sink, frame: pl.DataFrame) -> Mapping[int, Progress]:
    """Write the first micro-batch of partition 0."""
    before = sink.claim({0: 1})
    return sink.commit([sink.stage(frame)], steps(before, {0: frame.height}))


def seen(store: SinkStore) -> pl.DataFrame:
    """Return what a reader sees, by id."""
    return store.visible(lane_of(store)).sort("id")
