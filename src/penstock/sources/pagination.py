"""How an API is walked in several requests by numbers, and what every pagination says. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from penstock.sources.declared import require

if TYPE_CHECKING:
    from penstock.sources.session import Answer

Place = int | str
"""A page's number, an offset, a token or an address; `""` stands for the first of the latter."""


@dataclass(frozen=True)
class Ask:
    """What a request adds to what all requests of a source have in common.

    Args:
        query: Query parameters.
        url: Another address than the source's own.
        headers: Header fields.
    """

    query: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """What an answer says of the place that was asked for.

    Args:
        count: How many records it held; None when they could not be counted.
        following: The token or address of what follows; None when it names none.
    """

    count: int | None
    following: str | None = None


class Pagination(Protocol):
    """Names the places of an API (numbers, tokens, addresses) and says what follows each."""

    @property
    def first(self) -> Place:
        """The first place."""

    @property
    def most(self) -> int | None:
        """Places of one walk at most."""

    @property
    def growing(self) -> bool:
        """Whether the next walk goes on at the end of this one."""

    @property
    def sized(self) -> bool:
        """Whether an answer with fewer records than the one before it ends the walk."""

    @property
    def endless(self) -> bool:
        """Whether there is always a next place to ask for, records or not."""

    @property
    def expired(self) -> str:
        """What to do when the API knows a place no more: `refuse` or `restart`; `""`: never."""

    def ask(self, at: Place) -> Ask:
        """What asks for the place `at`."""

    def following(self, answer: Answer) -> str | None:
        """What an answer names as following it, if this pagination goes by that."""

    def after(self, at: Place, page: Page) -> Place | None:
        """The place after `at`; None when the walk ends there."""

    def past(self, at: Place, page: Page) -> Place | None:
        """The place after one that could not be read; None when nobody can know it."""

    def again(self, at: Place, page: Page) -> Place:
        """Where to begin again when the walk of a growing API ended at `at`."""

    def before(self, at: Place) -> Place:
        """A place before `at` that a growing API is to be asked for again; `at` if unknown."""


class Numbered:
    """What paginations by numbers have in common: a walk ends at an empty answer."""

    endless = True
    expired = ""
    first: int

    def step(self) -> int:
        """From one place to the next, when its records cannot be counted."""
        return 1

    def following(self, answer: Answer) -> str | None:
        return None

    def past(self, at: Place, page: Page) -> Place:
        return int(at) + self.step()

    def before(self, at: Place) -> Place:
        return max(self.first, int(at) - self.step())


@dataclass(frozen=True)
class Pages(Numbered):
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

    def ask(self, at: Place) -> Ask:
        sized = {} if self.size_param is None else {self.size_param: str(self.size)}
        return Ask({self.param: str(at), **sized})

    def after(self, at: Place, page: Page) -> Place | None:
        return int(at) + 1 if page.count else None

    def again(self, at: Place, page: Page) -> Place:
        return at if page.count or at == self.first else int(at) - 1


@dataclass(frozen=True)
class Offsets(Numbered):
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

    def step(self) -> int:
        """As many records as were asked for."""
        return self.limit

    def ask(self, at: Place) -> Ask:
        return Ask({self.param: str(at), self.limit_param: str(self.limit)})

    def after(self, at: Place, page: Page) -> Place | None:
        return int(at) + page.count if page.count else None

    def again(self, at: Place, page: Page) -> Place:
        return int(at) + (page.count or 0)


@dataclass(frozen=True)
class Once(Numbered):
    """No pagination: a poll is one request."""

    first: int = 0
    most: int | None = 1
    growing: bool = False

    @property
    def sized(self) -> bool:
        return False

    def ask(self, at: Place) -> Ask:
        return Ask()

    def after(self, at: Place, page: Page) -> Place | None:
        return None

    def again(self, at: Place, page: Page) -> Place:
        return at
