"""What executors see: asked by a check, before a run finds out."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from penstock import plan
from penstock.contract import masking
from penstock.engines.spark import failures, shipping
from penstock.engines.systems import Systems
from penstock.errors import PenstockError, Refused, Unavailable
from penstock.records import LaneKey
from penstock.serdes.formats import codecs

if TYPE_CHECKING:
    from penstock.engines.spark.session import Cluster
    from penstock.engines.spark.shipping import Shipped
    from penstock.plan import Segment
    from penstock.profile import Profile

LIBRARIES = ("penstock", "polars", "pyarrow", "msgspec")
"""Their versions decide what a plan's results are."""

_DIAL = 5.0


class Wrong(msgspec.Struct, frozen=True):
    """What an executor could not do.

    Args:
        system: What it is about.
        away: Whether it was not reached; else it refused.
        message: Why, in a sentence.
    """

    system: str
    away: bool
    message: str


class Report(msgspec.Struct, frozen=True):
    """What a process of an executor found.

    Args:
        host: Where it ran.
        python: Its version.
        libraries: Versions of `LIBRARIES`.
        clock: Its time, as seconds since 1970.
        wrong: What did not work.
    """

    host: str
    python: str
    libraries: dict[str, str]
    clock: float
    wrong: list[Wrong]


@dataclass(frozen=True)
class Inquiry:
    """What executors are asked; travels to them.

    Args:
        shipped: Where the program is.
        profile: The systems, as executors reach them.
        fingerprints: Of the plans in the driver, by segment.
        stores: For each store a lane that writes to it, as segment and lane.
        brokers: The addresses that Kafka advertises.
        keys: Of all masks, as `masking.keys` gives them.
    """

    shipped: Shipped
    profile: Profile = field(repr=False)
    fingerprints: Mapping[str, str]
    stores: Mapping[str, tuple[str, str]]
    brokers: tuple[str, ...]
    keys: Mapping[str, str]

    def of(self, cluster: Cluster) -> list[Report]:
        """Ask as many tasks as run at once, so that each executor has some.

        Raises:
            PenstockError: No task came to an end.
        """
        tasks = cluster.cores
        frame = cluster.session.range(tasks, numPartitions=tasks)
        try:
            rows = frame.mapInArrow(self.run, "report binary").collect()
        except Exception as error:
            raise failures.translate(error) from error
        return [msgspec.json.decode(row.report, type=Report) for row in rows]

    def run(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Answer, on an executor."""
        report = msgspec.json.encode(self._report())
        yield pa.RecordBatch.from_pydict({"report": [report for _ in batches][:1]})

    def _report(self) -> Report:
        clock = time.time()
        wrong: list[Wrong] = []

        def ask(system: str, question: Callable[[], None]) -> bool:
            try:
                question()
            except PenstockError as error:
                wrong.append(Wrong(system, isinstance(error, Unavailable), str(error)))
                return False
            return True

        for broker in self.brokers:
            ask(f"Kafka's broker {broker}", lambda: _dial(broker))  # noqa: B023 - called at once
        if self.profile.registry:
            ask("registry", self._ask_registry)
        if ask("program", self._verify_plans):
            for store in self.stores:
                ask(f"store {store}", lambda: self._ask_store(store))  # noqa: B023
        return Report(platform.node(), platform.python_version(), versions(), clock, wrong)

    def _segments(self) -> dict[str, Segment]:
        segments = plan.compile(shipping.load(self.shipped), codecs(self.profile))
        return {one.name: one for one in segments}

    def _verify_plans(self) -> None:
        segments = self._segments()
        found = {name: one.plan.fingerprint for name, one in segments.items()}
        for name, fingerprint in self.fingerprints.items():
            if found.get(name) != fingerprint:
                raise Refused(
                    f"the plan of {name!r} is another one there than here; does the program "
                    "depend on the machine, its files or its environment?"
                )
            masking.verify(segments[name].spec, self.keys)

    def _ask_registry(self) -> None:
        from penstock.serdes.registry import Registry

        Registry(self.profile.registry or "").latest("penstock-check")

    def _ask_store(self, store: str) -> None:
        segment, lane = self.stores[store]
        key = LaneKey(shipping.load(self.shipped).name, "", segment, lane)
        found = self._segments()[segment].lane(lane)
        with closing(Systems(self.profile, key.pipeline).sink(found, key)) as sink:
            sink.progress()


def versions() -> dict[str, str]:
    """Tell the versions of `LIBRARIES` in this process."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _dial(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _DIAL).close()
    except OSError as error:
        raise Unavailable(
            f"executors read topics from {address}, where Kafka says it is, and do not reach it: "
            f"{error.strerror or error}. Look at advertised.listeners, and at the network"
        ) from error
