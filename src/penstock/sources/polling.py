"""One poll of an API: asks place after place, and says with each answer where to go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from penstock.errors import Refused, Unavailable
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.sources.answer import EXPIRED, Denied, count_records, texts
from penstock.sources.pace import Pace
from penstock.sources.pagination import Ask, Once, Page, Pagination
from penstock.sources.since import Bounds, Range, Since
from penstock.sources.validators import Known, known
from penstock.sources.walk import Walk

if TYPE_CHECKING:
    from penstock.sources.session import Answer, Session

_LANDED_CUTS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """How an API is asked, as the program says it.

    Args:
        framing: Where the records lie.
        pages: How it is walked.
        since: How it is asked for new records only.
        limits: The range that alone is asked for.
    """

    framing: Framing
    pages: Pagination
    since: Since | None = None
    limits: Range | None = None


@dataclass(frozen=True)
class Standing:
    """Where a source stands: what its cursor holds."""

    walk: Walk
    bounds: Bounds | None = None
    known: Known | None = None

    def cursor(self) -> dict[str, Any]:
        """What to commit."""
        parts = (self.walk, self.bounds, self.known)
        return {name: v for part in parts if part for name, v in part.cursor().items()}

    @classmethod
    def read(cls, cursor: Cursor, way: Way) -> Standing:
        """Go on where a cursor says; at the first place without one.

        Raises:
            Refused: The cursor is none of this kind.
        """
        held = dict(cursor or {"at": way.pages.first})
        try:
            last = Known(*held.pop("known")) if "known" in held else None
            bounds = {name: held.pop(name, None) for name in ("since", "until", "newest")}
            walk = Walk(**held)
        except TypeError:
            raise _foreign(cursor) from None
        if walk.ended and not way.pages.growing:
            walk = Walk(way.pages.first)
        if type(walk.at) is not type(way.pages.first):
            raise _foreign(cursor)
        if way.since is None:
            return cls(walk, None, last)
        start = way.limits[0] if way.limits else way.since.start
        return cls(walk, Bounds(**bounds | {"since": bounds["since"] or start}), last)


class Poll:
    """One poll.

    Args:
        way: How the API is asked.
        session: Its requests.
        clock: The time.
        pace: Keeps to a rate.
    """

    def __init__(self, way: Way, session: Session, clock: Clock, pace: Pace | None) -> None:
        self._way = way
        self._session = session
        self._clock = clock
        self._pace = pace
        self._note: dict[str, str] = {}

    def run(self, cursor: Cursor) -> Iterator[Response]:
        """Yield the answers from a cursor on; raises as `Source.poll` does."""
        standing = begun(Standing.read(cursor, self._way), self._way, self._clock.now())
        kept = True
        while standing is not None:
            if self._pace is not None:
                self._pace.take(self._clock)
            ask = asked(standing, self._way)
            conditions = self._conditions(standing, ask)
            try:
                answer = self._session.fetch(replace(ask, headers=conditions))
            except Denied as error:
                standing = self._lost(standing, error, kept=kept)
                continue
            finally:
                kept = False
            if answer.unchanged:
                return
            following, ended = self._following(standing, answer, ask)
            yield from self._landed(standing, following, answer, ask)
            standing = following
            if ended:
                return
            standing = begun(following, self._way, self._clock.now())

    def _conditions(self, standing: Standing, ask: Ask) -> dict[str, str]:
        """Only at the start of a walk: an answer in its middle says nothing of those before."""
        if standing.known is None or not standing.walk.ended:
            return {}
        return dict(standing.known.headers(self._session.fingerprint(ask)))

    def _landed(
        self, standing: Standing, following: Standing, answer: Answer, ask: Ask
    ) -> Iterator[Response]:
        """The answer, when it is worth landing; raises when the same place is to be asked again."""
        where = self._session.place(ask)
        facts = {**answer.facts, **self._note}
        if answer.broken:
            if answer.body and standing.walk.cut < _LANDED_CUTS:
                yield Response(answer.body, following.cursor(), facts, cut_off=True)
            raise Unavailable(f"{where} broke off: {answer.broken}")
        if following.walk is standing.walk:
            raise Unavailable(
                f"{where} holds no list of records; what follows it is not known, so it is asked "
                "again until it can be read"
            )
        yield Response(answer.body, following.cursor(), facts)
        self._note = {}
        if following.walk.bad > standing.walk.bad:
            raise Unavailable(f"{where} holds no list of records")

    def _following(self, standing: Standing, answer: Answer, ask: Ask) -> tuple[Standing, bool]:
        """Where to go on after an answer, and whether the poll ends with it."""
        way, walk, bounds = self._way, standing.walk, standing.bounds
        if answer.broken:
            return Standing(walk.broke(), bounds), False
        page = self._page(answer)
        walk = walk.read(page, way.pages)
        if bounds is not None and way.since is not None:
            values = texts(answer.body, way.framing, way.since.path)
            bounds = bounds.seen(values, self._clock.now())
        if not walk.ended:
            return Standing(walk, bounds), False
        over = False
        if bounds is not None and way.since is not None:
            since, over = way.since.following(bounds, way.limits)
            bounds = Bounds(since)
        readable = page.count is not None and way.limits is None
        mark = known(self._session.fingerprint(ask), answer.headers) if readable else None
        return Standing(walk, bounds, mark), not over

    def _page(self, answer: Answer) -> Page:
        if isinstance(self._way.pages, Once):
            return Page(1)
        count = count_records(answer.body, self._way.framing.path)
        return Page(count, self._way.pages.following(answer))

    def _lost(self, standing: Standing, error: Denied, *, kept: bool) -> Standing:
        """Begin anew when the API knows a kept cursor no more, if the program says so."""
        pages = self._way.pages
        if not pages.expired or standing.walk.at == pages.first or error.status not in EXPIRED:
            raise error
        if not kept or pages.expired == "refuse":
            raise Refused(
                f"the API seems to know the cursor no more: {error}. To go on, either write "
                "expired='restart' in pages=, which begins at the first page so that records come "
                "again (an upsert by key makes them one row), or land it under a new name"
            )
        note = f"the API answered {error.status} to the kept cursor; begun anew"
        _log.warning("%s (%s)", note, error)
        self._note = {"note": note}
        return replace(standing, walk=Walk(pages.first), known=None)


def begun(standing: Standing, way: Way, now: datetime) -> Standing | None:
    """With the bounds of the walk that begins now; None when there is nothing to ask for."""
    if standing.bounds is None or way.since is None or not standing.walk.ended:
        return standing
    bounds = way.since.begin(standing.bounds.since, now, way.limits)
    return None if bounds is None else replace(standing, bounds=bounds)


def asked(standing: Standing, way: Way) -> Ask:
    """What asks for the place where a source stands."""
    ask = way.pages.ask(standing.walk.at)
    if way.since is None or standing.bounds is None or ask.url is not None:
        return ask
    return replace(ask, query={**way.since.query(standing.bounds, way.limits), **ask.query})


def _foreign(cursor: Cursor) -> Refused:
    return Refused(
        f"the cursor {cursor!r} was kept by another kind of source; land this one under a new name"
    )
