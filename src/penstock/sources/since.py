"""Asking an API only for what came since, or for a range: `Since`, and how its bounds move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from penstock.errors import Refused
from penstock.sources import instants
from penstock.sources.declared import require, seconds

Range = tuple[str, str]
"""The first bound that is in it, and the first one that is not."""


@dataclass(frozen=True)
class Bounds:
    """What the requests of one walk ask for.

    Args:
        since: The lower bound.
        until: The upper bound, when one is sent.
        newest: The greatest value seen in this walk.
    """

    since: str
    until: str | None = None
    newest: str | None = None

    def cursor(self) -> dict[str, Any]:
        """What to commit."""
        kept = {"since": self.since, "until": self.until, "newest": self.newest}
        return {name: value for name, value in kept.items() if value is not None}

    def seen(self, values: Iterable[str], now: datetime) -> Bounds:
        """After an answer with these values in its records.

        A value of another kind than the bound, or a time in the future, does not move it: else a
        single wrong record would hide all that come after it.
        """
        kind, newest = instants.kind(self.since), self.newest or self.since
        for value in values:
            sound = instants.kind(value) == kind and not instants.lies_ahead(value, now)
            newest = value if sound and instants.greater(value, newest) else newest
        return self if newest == self.since else replace(self, newest=newest)


@dataclass(frozen=True)
class Since:
    """Ask only for records since the newest one that was landed.

    The bound is the greatest value of `field` in the answers of a poll, sent as it came. It moves
    when the poll has ended. Most APIs include the bound, so records at the bound come twice; an
    API that leaves it out loses records that got the same value later, unless `overlap` asks for
    some more. Either way read into a keyed topic: a record that comes twice is then one row.

    Args:
        field: Where the value lies in a record: names joined by dots. A string or a number.
        param: The query parameter for the lower bound.
        start: The first bound, written as the API writes it. It also says what the values are: a
            number, a date or time in ISO 8601, or other text, in the order of its characters.
        until: The query parameter for an upper bound, which the API leaves out of its answers.
            Needed for windows, and for `penstock ingest --from … --to …`.
        window: Ask for ranges of so many seconds (or `"1d"`), one after the other; for numbers: of
            so many. A window that is over is not asked for again. The window that is not over
            yet is asked for up to now; dates, only when the day is over. Numbers have no now:
            only a range by `--from` is asked for in windows.
        overlap: Seconds (or numbers) to ask for again before the bound.

    Example:
        `since=ps.Since("updated_at", param="updated_after", start="2026-01-01T00:00:00Z")`
    """

    field: str
    param: str
    start: str
    until: str | None = None
    window: str | float | None = None
    overlap: str | float | None = None

    def __post_init__(self) -> None:
        require(
            bool(self.field) and all(self.field.split(".")),
            f"field={self.field!r} is no path: write names joined by dots, as in 'meta.updated_at'",
        )
        require(bool(self.param), "Since needs a query parameter, as in param='updated_after'")
        require(bool(self.start), "Since needs the first bound, as in start='2026-01-01T00:00:00Z'")
        for name in ("window", "overlap"):
            amount = getattr(self, name)
            require(
                amount is None or instants.kind(self.start) != "text",
                f"{name}={amount!r} needs bounds that are numbers or times; "
                f"start={self.start!r} is neither",
            )
            if amount is not None:
                object.__setattr__(self, name, seconds(amount, name))
        require(
            self.window is None or self.until is not None,
            "window= needs until=, the query parameter for the upper bound",
        )

    @property
    def path(self) -> tuple[str, ...]:
        """Where the value lies in a record."""
        return tuple(self.field.split("."))

    def checked(self, start: str, end: str) -> Range:
        """A range whose bounds are of this kind.

        Raises:
            Refused: It is none, or the API takes no upper bound.
        """
        kind = instants.kind(self.start)
        if self.until is None:
            raise Refused(
                "a range needs an upper bound: name its query parameter, as in "
                f"ps.Since({self.field!r}, param={self.param!r}, until=…)"
            )
        for bound in (start, end):
            if instants.kind(bound) != kind:
                raise Refused(f"{bound!r} is no bound as start={self.start!r} is: a {kind}")
        if not instants.greater(end, start):
            raise Refused(f"the range from {start!r} to {end!r} holds nothing")
        return start, end

    def begin(self, since: str, now: datetime, limits: Range | None) -> Bounds | None:
        """The bounds of a walk from `since` on; None when there is nothing to ask for yet."""
        end = self._end(since, now, limits)
        if end is None:
            return Bounds(since)
        if not instants.greater(end, since):
            return None
        if self.window is None:
            return Bounds(since, end)
        full = instants.moved(since, float(self.window))
        return Bounds(since, end if instants.greater(full, end) else full)

    def query(self, bounds: Bounds, limits: Range | None) -> Mapping[str, str]:
        """The query parameters of a walk's requests."""
        low = bounds.since
        if self.overlap and limits is None:
            low = instants.moved(low, -float(self.overlap))
        upper = {self.until: bounds.until} if self.until and bounds.until else {}
        return {self.param: low, **upper}

    def following(self, bounds: Bounds, limits: Range | None) -> tuple[str, bool]:
        """Where the next walk begins, and whether the one that ended was a window that is over."""
        if bounds.until is None:
            return bounds.newest or bounds.since, False
        if limits is not None:
            return bounds.until, True
        if bounds.until == instants.moved(bounds.since, float(self.window or 0)):
            return bounds.until, True
        return bounds.newest or bounds.since, False

    def _end(self, since: str, now: datetime, limits: Range | None) -> str | None:
        if limits is not None:
            return limits[1]
        if self.window is None or instants.kind(since) != "time":
            return None
        return instants.written(now, since)
