"""How an API is walked in several requests, and where a walk that ended begins again. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from penstock.sources.declared import require

ATTEMPTS = 3
"""How often one place is asked for when its answers cannot be read, before it is passed over."""


class Pagination(Protocol):
    """Numbers the places of an API (pages, offsets) and says what follows each.

    A walk ends at an empty answer; when `sized`, also at one with fewer records than the one
    before it.
    """

    @property
    def first(self) -> int:
        """The first place."""

    @property
    def most(self) -> int | None:
        """Places of one walk at most."""

    @property
    def growing(self) -> bool:
        """Whether the next walk goes on at the end of this one."""

    @property
    def sized(self) -> bool:
        """Whether a full answer has a known number of records."""

    def query(self, at: int) -> Mapping[str, str]:
        """Query parameters that ask for the place `at`."""

    def after(self, at: int, count: int | None) -> int:
        """The place after `at`, which held `count` records (None: they could not be counted)."""

    def again(self, at: int, count: int) -> int:
        """Where to begin again when the walk of a growing API ended at `at`."""


@dataclass(frozen=True)
class Pages:
    """Ask for one page after the other until one is empty.

    Args:
        param: The query parameter that holds the page's number.
        first: The number of the first page.
        size: Records on a full page, sent as `size_param`. When given, a page with fewer records
            than the one before it also ends the walk, which saves a request.
        size_param: The query parameter that holds `size`; None to not send it.
        most: Pages of one walk at most, for an API that never ends; None for no limit.
        growing: False: each poll begins at the first page (a snapshot). True: at the last page
            that held records, which may have grown: its records come again, so read them into
            a keyed topic.

    Example:
        `ps.Http(url, records="results", every="1m", pages=ps.Pages(size=100, size_param="limit"))`
    """

    param: str = "page"
    first: int = 1
    size: int | None = None
    size_param: str | None = None
    most: int | None = None
    growing: bool = False

    def __post_init__(self) -> None:
        require(bool(self.param), "Pages needs the name of a query parameter, as in param='page'")
        require(self.size is None or self.size >= 1, f"size={self.size} records is no page")
        require(
            self.size_param is None or self.size is not None,
            f"size_param={self.size_param!r} needs size=, the records of a full page",
        )
        require(self.most is None or self.most >= 1, f"most={self.most} pages would read nothing")

    @property
    def sized(self) -> bool:
        return self.size is not None

    def query(self, at: int) -> Mapping[str, str]:
        sized = {} if self.size_param is None else {self.size_param: str(self.size)}
        return {self.param: str(at), **sized}

    def after(self, at: int, count: int | None) -> int:
        return at + 1

    def again(self, at: int, count: int) -> int:
        return at if count or at == self.first else at - 1


@dataclass(frozen=True)
class Offsets:
    """Ask for `limit` records from an offset on, then for those after them, until none come.

    The next offset is the last one plus the records that came, not plus `limit`: a server that
    gives fewer than it is asked for loses nothing.

    Args:
        limit: Records to ask for at once.
        param: The query parameter that holds the offset.
        limit_param: The query parameter that holds the limit.
        first: The offset of the first record.
        most: Requests of one walk at most; None for no limit.
        growing: False: each poll begins at the first record (a snapshot). True: after the last
            record that came, so that each comes once.

    Example:
        `ps.Http(url, records="items", every="10s", pages=ps.Offsets(limit=500, growing=True))`
    """

    limit: int = 100
    param: str = "offset"
    limit_param: str = "limit"
    first: int = 0
    most: int | None = None
    growing: bool = False

    def __post_init__(self) -> None:
        require(
            bool(self.param and self.limit_param),
            "Offsets needs two query parameters, as in param='offset', limit_param='limit'",
        )
        require(self.limit >= 1, f"limit={self.limit} would read nothing")
        require(
            self.most is None or self.most >= 1, f"most={self.most} requests would read nothing"
        )

    @property
    def sized(self) -> bool:
        return True

    def query(self, at: int) -> Mapping[str, str]:
        return {self.param: str(at), self.limit_param: str(self.limit)}

    def after(self, at: int, count: int | None) -> int:
        return at + (self.limit if count is None else count)

    def again(self, at: int, count: int) -> int:
        return at + count


@dataclass(frozen=True)
class Once:
    """No pagination: a poll is one request."""

    first: int = 0
    most: int | None = 1
    growing: bool = False

    @property
    def sized(self) -> bool:
        return False

    def query(self, at: int) -> Mapping[str, str]:
        return {}

    def after(self, at: int, count: int | None) -> int:
        return at

    def again(self, at: int, count: int) -> int:
        return at


@dataclass(frozen=True)
class Walk:
    """Where a walk stands: what the cursor of an `Http` source holds.

    Args:
        at: The place to ask for.
        asked: Places done in this walk; 0 at its start.
        count: Records of the place before `at`; None at the start.
        bad: Answers in a row that could not be read.
        cut: Bodies of this place that broke off.
    """

    at: int
    asked: int = 0
    count: int | None = None
    bad: int = 0
    cut: int = 0

    @classmethod
    def begin(cls, cursor: Any, pages: Pagination) -> Walk:
        """Go on where the cursor says; at the first place without one."""
        return cls(**cursor) if cursor else cls(pages.first)

    def cursor(self) -> dict[str, int]:
        """What to commit: the fields that differ from a walk's start."""
        fields = {"asked": self.asked, "count": self.count, "bad": self.bad, "cut": self.cut}
        return {"at": self.at} | {name: n for name, n in fields.items() if n is not None and n}

    def broke(self) -> Walk:
        """The body broke off: the same place again."""
        return replace(self, cut=self.cut + 1)

    def read(self, count: int, pages: Pagination) -> Walk:
        """The place held `count` records: go on to the next, or to the next walk's start."""
        short = pages.sized and self.count is not None and count < self.count
        if count == 0 or short:
            return Walk(pages.again(self.at, count) if pages.growing else pages.first)
        return self._on(Walk(pages.after(self.at, count), self.asked + 1, count), pages)

    def unreadable(self, pages: Pagination) -> Walk:
        """The answer held no list of records: ask again, then pass over, then give up.

        Each such answer is landed, and so a dead letter: nothing is passed over silently. One
        more bad answer after a place that was passed over ends the walk, so none is endless.
        """
        bad = self.bad + 1
        if bad < ATTEMPTS:
            return replace(self, bad=bad, cut=0)
        if bad == ATTEMPTS:
            after = pages.after(self.at, None)
            return self._on(Walk(after, self.asked + 1, self.count, bad), pages)
        # A growing API may have been asked past its end: never begin after what was not read.
        return Walk(self._before(pages) if pages.growing else pages.first)

    def _before(self, pages: Pagination) -> int:
        step = pages.after(0, None)
        return max(pages.first, self.at - step)

    def _on(self, following: Walk, pages: Pagination) -> Walk:
        if pages.most is None or following.asked < pages.most:
            return following
        return Walk(following.at if pages.growing else pages.first)

    @property
    def ended(self) -> bool:
        """Whether this is the start of a walk, so that the poll before it has ended."""
        return self.asked == 0 and self.bad == 0 and self.cut == 0
