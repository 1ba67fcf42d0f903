"""Durations, sizes and numbers as people write them: `"90s"`, `"7d"`, `"10GB"`, `"1 partition"`."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def seconds(text: str) -> float:
    """Read a duration such as `"1m"` as seconds.

    Raises:
        ValueError: It is not a positive number and one of the units ms, s, m, h, d, w.
    """
    return _amount(text, _SECONDS, "a duration such as '90s', '1m', '12h' or '7d'")


def size(text: str) -> int:
    """Read a size such as `"10GB"` as bytes.

    Raises:
        ValueError: It is not a positive number and one of the units B, kB, MB, GB, TB.
    """
    return round(_amount(text, _BYTES, "a size such as '500MB' or '10GB'"))


def counted(number: int, noun: str) -> str:
    """Write a number of things, such as `"1 partition"` or `"2 partitions"`.

    Args:
        number: How many.
        noun: What one of them is called; several have an s more.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _amount(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in units or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not {example}")
    return float(match[1]) * units[match[2]]
