"""Which lane is too slow for its group."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from penstock.engines.lanes import LaneWriter, slow
from penstock.interfaces import Sink


def _never() -> Sink:
    raise AssertionError("no sink is needed")


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        ([9.0], None),
        ([0.1, 0.2], None),
        ([0.1, 1.9], None),
        ([1.0, 4.0], None),
        ([0.1, 3.0], "lane 1"),
        ([0.1, 3.0, 0.2], "lane 1"),
        ([3.0, 3.0, 0.2], None),
    ],
)
def test_a_lane_leaves_that_is_slow_and_much_slower(
    seconds: Sequence[float], found: str | None
) -> None:
    writers = [LaneWriter(f"lane {number}", _never) for number in range(len(seconds))]
    for writer, each in zip(writers, seconds, strict=True):
        for _ in range(30):
            writer.took(each)
    late = slow(writers)
    assert (late.name if late else None) == found
    for writer in writers:
        writer.close()
