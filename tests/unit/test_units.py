from __future__ import annotations

import pytest

from penstock import units


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("1.5m", 90), ("500 ms", 0.5), ("7d", 604800), ("2h", 7200)]
)
def test_durations(text: str, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("10GB", 10**10), ("1.5 kB", 1500), ("7B", 7)])
def test_sizes(text: str, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize("text", ["", "7", "0s", "-1s", "1 y", "1e3s", "1m30s", "ⅷs"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.seconds(text)
