"""Pagination where each answer says what follows it: `Cursors` and `Links`. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from penstock.sources.answer import text_at
from penstock.sources.declared import require
from penstock.sources.pagination import Ask, Page, Place

if TYPE_CHECKING:
    from penstock.sources.session import Answer

_LINK = re.compile(r'<([^<>]*)>((?:[^",<]|"(?:[^"\\]|\\.)*")*)')
_RELATION = re.compile(r';\s*(rel|anchor)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))', re.IGNORECASE)
_WAYS = ("refuse", "restart")


class _Chained:
    """What `Cursors` and `Links` have in common: a walk ends at an answer that names no next."""

    first = ""
    sized = False
    endless = False
    growing: bool
    most: int | None
    expired: str

    def after(self, at: Place, page: Page) -> Place | None:
        at_rest = self.growing and not page.count
        return None if at_rest or page.following in (None, at) else page.following

    def past(self, at: Place, page: Page) -> Place | None:
        return None if page.following == at else page.following

    def again(self, at: Place, page: Page) -> Place:
        return page.following or at

    def before(self, at: Place) -> Place:
        return at

    def _check(self) -> None:
        require(self.most is None or self.most >= 1, f"most={self.most} pages would read nothing")
        require(
            self.expired in _WAYS,
            f"expired={self.expired!r} is unknown: write one of {', '.join(map(repr, _WAYS))}",
        )


@dataclass(frozen=True)
class Cursors(_Chained):
    """Ask for what follows by a token that each answer holds, until one holds none.

    An answer that cannot be read holds no token, so what follows it is unknown: it is landed three
    times at most, and then asked for until it can be read. Nothing is passed over.

    Args:
        path: Where the token lies in the body: names joined by dots, as in `"meta.next"`. None
            (missing, null, false, empty) ends the walk.
        header: Or the header that holds it.
        param: The query parameter that takes the token.
        most: Pages of one walk at most; None for no limit.
        growing: False: each poll begins without a token (a snapshot). True: with the last token
            that came (a feed, a sync token); a walk then also ends at an answer without records.
            An API whose last page names no token is asked for that page again.
        expired: What to do when the API answers 400, 404 or 410 to a token that was kept since
            an earlier poll: `"refuse"` stops with the choices, `"restart"` begins without a
            token, so that records come again (read them into a keyed topic).

    Example:
        `ps.Http(url, records="items", pages=ps.Cursors("next_cursor", param="cursor"))`
    """

    path: str | None = None
    param: str = "cursor"
    header: str | None = None
    most: int | None = None
    growing: bool = False
    expired: str = "refuse"

    def __post_init__(self) -> None:
        require(bool(self.param), "Cursors needs a query parameter, as in param='cursor'")
        require(
            bool(self.path) != bool(self.header),
            "Cursors finds the token by a path in the body or in a header: give one of the two, "
            "as in ps.Cursors('meta.next')",
        )
        require(
            self.path is None or all(self.path.split(".")),
            f"path={self.path!r} is no path: write names joined by dots, as in 'meta.next'",
        )
        self._check()

    def ask(self, at: Place) -> Ask:
        return Ask({self.param: str(at)} if at else {})

    def following(self, answer: Answer) -> str | None:
        if self.header is not None:
            return answer.headers.get(self.header) or None
        return text_at(answer.body, tuple((self.path or "").split("."))) or None


@dataclass(frozen=True)
class Links(_Chained):
    """Follow the header `Link` with `rel="next"` (RFC 8288), until an answer has none.

    Credentials, headers and parameters go to the source's own host only: a link that leads
    elsewhere is refused when there are any. Parameters of the source are not kept in the cursor.

    Args:
        most: Pages of one walk at most; None for no limit.
        growing: False: each poll begins at the source's address. True: at the last page, whose
            records come again, so read them into a keyed topic.
        expired: What to do when the API answers 400, 404 or 410 to a link that was kept since an
            earlier poll: `"refuse"` or `"restart"`, as for `Cursors`.

    Example:
        `ps.Http("https://api.github.com/…/issues", records=".", pages=ps.Links())`
    """

    most: int | None = None
    growing: bool = False
    expired: str = "refuse"

    def __post_init__(self) -> None:
        self._check()

    def ask(self, at: Place) -> Ask:
        return Ask(url=str(at) or None)

    def following(self, answer: Answer) -> str | None:
        target = next_link(answer.headers.get("link", ""))
        if target is None:
            return None
        return _without(urljoin(answer.url, target), answer.credentials)


def next_link(header: str) -> str | None:
    """The target of the first link whose relation is `next`; None when there is none.

    A link with an anchor speaks of something else than this answer.
    """
    for target, rest in _LINK.findall(header):
        found = {name.lower(): quoted or plain for name, quoted, plain in _RELATION.findall(rest)}
        if "next" in found.get("rel", "").lower().split() and "anchor" not in found:
            return str(target)
    return None


def _without(url: str, credentials: Mapping[str, str]) -> str:
    """An address fit for a cursor: without user, password and the parameters that are secret."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if credentials.get(name) != value]
    text = parts.query if len(kept) == len(query) else urlencode(kept)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=text).geturl()
