"""Where a walk over an API's places stands, and where one that ended begins again. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from penstock.sources.pagination import Page, Pagination, Place

ATTEMPTS = 3
"""How often one place is asked for when its answers cannot be read, before it is passed over."""


@dataclass(frozen=True)
class Walk:
    """Where a walk stands: part of what the cursor of an `Http` source holds.

    Args:
        at: The place to ask for.
        asked: Places done in this walk; 0 at its start.
        count: Records of the place before `at`; None at the start.
        bad: Answers in a row that could not be read.
        cut: Bodies of this place that broke off.
    """

    at: Place
    asked: int = 0
    count: int | None = None
    bad: int = 0
    cut: int = 0

    def cursor(self) -> dict[str, Any]:
        """What to commit: the fields that differ from a walk's start."""
        fields = {"asked": self.asked, "count": self.count, "bad": self.bad, "cut": self.cut}
        return {"at": self.at} | {name: n for name, n in fields.items() if n is not None and n}

    def broke(self) -> Walk:
        """The body broke off: the same place again."""
        return replace(self, cut=self.cut + 1)

    def read(self, page: Page, pages: Pagination) -> Walk:
        """The place was answered: go on to the next, or to the next walk's start.

        Returns:
            This very walk when the answer says nothing that was not landed before: it cannot be
            read, was asked for often enough, and only it could say what follows.
        """
        if page.count is None:
            return self._unreadable(page, pages)
        short = pages.sized and self.count is not None and page.count < self.count
        following = None if short else pages.after(self.at, page)
        if following is None:
            return Walk(pages.again(self.at, page) if pages.growing else pages.first)
        return self._on(Walk(following, self.asked + 1, page.count), pages)

    def _unreadable(self, page: Page, pages: Pagination) -> Walk:
        """The answer held no list of records: ask again, then pass over, then give up.

        Each such answer is landed, and so a dead letter: nothing is passed over silently. One
        more bad answer after a place that was passed over ends the walk, so none is endless.
        """
        bad = self.bad + 1
        past = pages.past(self.at, page)
        if bad < ATTEMPTS or (past is None and bad == ATTEMPTS):
            return replace(self, bad=bad, cut=0)
        if past is None:
            return self
        if bad == ATTEMPTS or not pages.endless:
            tried = bad if pages.endless else 0
            return self._on(Walk(past, self.asked + 1, self.count, tried), pages)
        # A growing API may have been asked past its end: never begin after what was not read.
        return Walk(pages.before(self.at) if pages.growing else pages.first)

    def _on(self, following: Walk, pages: Pagination) -> Walk:
        if pages.most is None or following.asked < pages.most:
            return following
        return Walk(following.at if pages.growing else pages.first)

    @property
    def ended(self) -> bool:
        """Whether this is the start of a walk, so that the poll before it has ended."""
        return self.asked == 0 and self.bad == 0 and self.cut == 0
