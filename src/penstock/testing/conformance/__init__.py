"""Suites of checks that every sink, log and source must pass, for pytest.

An author subclasses a suite and gives it a fixture; see the example in each suite's docstring.
Each check stands for one promise of `penstock.interfaces`, and each is proven able to fail by an
implementation that breaks just that promise.
"""

from penstock.testing.conformance.sinks import (
    KeyedSinkConformance,
    RejectingSinkConformance,
    RemoteSinkConformance,
    SinkConformance,
    SinkStore,
)

__all__ = [
    "KeyedSinkConformance",
    "RejectingSinkConformance",
    "RemoteSinkConformance",
    "SinkConformance",
    "SinkStore",
]
