"""Suites of checks that every sink, log and source must pass, for pytest.

An author subclasses a suite and gives it a fixture; see the example in each suite's docstring.
Each check stands for one promise of `penstock.interfaces`, and each is proven able to fail by an
implementation that breaks just that promise.
"""

from penstock.testing.conformance.apart_sinks import (
    ApartSinkConformance,
    KeyedApartSinkConformance,
    RejectingApartSinkConformance,
)
from penstock.testing.conformance.keyed_sinks import KeyedSinkConformance
from penstock.testing.conformance.logs import (
    KeyedLogConformance,
    LogConformance,
    LogStore,
    PartitionedLogConformance,
    RecreatedLogConformance,
    RetainingLogConformance,
    SparseLogConformance,
)
from penstock.testing.conformance.sink_store import SinkStore
from penstock.testing.conformance.sinks import (
    RejectingSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
)
from penstock.testing.conformance.sources import (
    RemoteSourceConformance,
    SourceConformance,
    SourceSystem,
)

__all__ = [
    "ApartSinkConformance",
    "KeyedApartSinkConformance",
    "KeyedLogConformance",
    "KeyedSinkConformance",
    "LogConformance",
    "LogStore",
    "PartitionedLogConformance",
    "RecreatedLogConformance",
    "RejectingApartSinkConformance",
    "RejectingSinkConformance",
    "RemoteSinkConformance",
    "RemoteSourceConformance",
    "RetainingLogConformance",
    "SinkConformance",
    "SinkStore",
    "SourceConformance",
    "SourceSystem",
    "SparseLogConformance",
]
