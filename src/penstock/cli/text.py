"""How figures and bytes look to people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from penstock.records import Counts


def records(counts: Counts) -> int:
    """How many records there were, those counted that one log record holds several of."""
    return counts.records + counts.expanded


def fates(counts: Iterable[Counts]) -> list[str]:
    """Name what became of records, as columns: what never happened is left out."""
    everything = sum(counts, Counts())
    rare = ("superseded", "deleted", "filtered", "deduplicated")
    return ["written", *(name for name in rare if getattr(everything, name)), "dead"]


def count(number: float | None) -> str:
    """Write a count with thousands apart: 1 234 567 becomes `1,234,567`; `–` for none."""
    return "–" if number is None else f"{number:,.0f}"


def rate(per_second: float) -> str:
    """Write records per second: one decimal below ten, none above."""
    return f"{per_second:,.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"


def seconds(value: float | None) -> str:
    """Write a span of time in the unit that fits: `12 ms`, `3.4 s`, `5 min`; `–` for none."""
    if value is None:
        return "–"
    for limit, divisor, unit in ((1, 0.001, "ms"), (120, 1, "s"), (7200, 60, "min")):
        if value < limit:
            return f"{value / divisor:.{0 if value / divisor >= 10 else 1}f} {unit}"
    return f"{value / 3600:.1f} h"


def names(lanes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Name lanes so that each can be told from the others: several segments may write one topic.

    Args:
        lanes: Segment and lane of each.
    """
    known = list(lanes)
    often = Counter(lane for _, lane in known)
    return {
        (segment, lane): f"{lane} from {segment}" if often[lane] > 1 else lane
        for segment, lane in known
    }


def escaped(value: bytes | None, limit: int | None = None) -> str:
    """Write bytes so that a terminal shows them and obeys none of them.

    Printable text stays; control characters, line ends, invalid UTF-8 and direction marks become
    escapes, so that the result is one line.

    Args:
        value: The bytes; None is a delete.
        limit: The greatest number of bytes to show; what is left out is counted.
    """
    if value is None:
        return "(none)"
    shown = value if limit is None else value[:limit]
    text = "".join(_visible(char) for char in shown.decode("utf-8", "surrogateescape"))
    left = len(value) - len(shown)
    return f"{text}… ({count(left)} bytes more)" if left else text


def line(words: str) -> str:
    """Write words of unknown origin as one line that a terminal shows and does not obey."""
    return "".join(char if char == "\\" else _visible(char) for char in words)


def _visible(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return f"\\x{ord(char) - 0xDC00:02x}"
    if char == "\\" or not char.isprintable():
        return char.encode("unicode_escape").decode()
    return char
