"""A declared retention as the settings of a topic."""

from __future__ import annotations

import pytest

from penstock.logs.kafka.topics import Wanted
from penstock.pipeline import Retention

HOUR, GIB = 3_600_000, 1 << 30


@pytest.mark.parametrize(
    ("retention", "partitions", "settings"),
    [
        (None, 1, {}),
        (Retention(), 1, {}),
        (Retention(age="8h"), 3, {"retention.ms": 8 * HOUR, "segment.ms": HOUR}),
        (Retention(age="1s"), 1, {"retention.ms": 1000, "segment.ms": 60_000}),
        (Retention(age="520w"), 1, {"retention.ms": 87_360 * HOUR, "segment.ms": 168 * HOUR}),
        (Retention(size="80MB"), 2, {"retention.bytes": 40_000_000, "segment.bytes": 5_000_000}),
        (Retention(size="1kB"), 1, {"retention.bytes": 1000, "segment.bytes": 1 << 20}),
        (Retention(size="90TB"), 1, {"retention.bytes": 90 * 10**12, "segment.bytes": GIB}),
    ],
)
def test_a_retention_is_kept_in_eight_segments(
    retention: Retention | None, partitions: int, settings: dict[str, int]
) -> None:
    found = Wanted("things", partitions, retention).settings(partitions)
    assert found == {name: str(value) for name, value in settings.items()}
