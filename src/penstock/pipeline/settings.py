"""How long a log keeps its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock import units
from penstock.site import caller


@dataclass(frozen=True)
class Retention:
    """How much a landing or a topic keeps; what a sink still has to read is always kept.

    Args:
        age: Drop records older than this, such as `"7d"`.
        size: Drop the oldest records beyond this size, such as `"10GB"`.
    """

    age: str | None = None
    size: str | None = None

    def __post_init__(self) -> None:
        _read(units.seconds, self.age)
        _read(units.size, self.size)

    @property
    def seconds(self) -> float | None:
        """The age in seconds."""
        return None if self.age is None else units.seconds(self.age)

    @property
    def bytes(self) -> int | None:
        """The size in bytes."""
        return None if self.size is None else units.size(self.size)


def _read(unit: Callable[[str], object], text: str | None) -> None:
    if text is None:
        return
    try:
        unit(text)
    except ValueError as error:
        raise caller().error(f"Retention: {error}") from None
