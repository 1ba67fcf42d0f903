"""The leases of this process: taken when free, renewed by a heartbeat, given back at the end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from threading import Condition
from typing import TYPE_CHECKING
from uuid import uuid4

from penstock.errors import Unavailable
from penstock.home import leases
from penstock.home.database import Home
from penstock.postgresql import stalls

if TYPE_CHECKING:
    from penstock.engines.stopping import Stop
    from penstock.home.database import Cursor

BEAT = 1.0
"""Seconds between two looks at the leases."""


@dataclass
class _Wish:
    claimant: leases.Claimant
    partitions: set[int]
    changed: Callable[[], None]
    take_over: bool
    held: dict[int, int] = field(default_factory=dict)
    holders: str = ""


class Ownership:
    """Which partitions this process works on. Thread-safe.

    Args:
        home: A connection for the leases alone: they live as long as its session.
        pipeline: Whose.
        ttl: Seconds until a silent process's leases are free.
        take_over: Take what others hold, once.
        revive: Called when home is away, before each attempt to reach it.
    """

    def __init__(
        self,
        home: Home,
        pipeline: str,
        ttl: float,
        *,
        take_over: bool,
        revive: Callable[[], None],
    ) -> None:
        self._home = home
        self._pipeline = pipeline
        self._ttl = ttl
        self._take_over = take_over
        self._revive = revive
        self._owner = uuid4().hex
        self._changed = Condition()
        self._wishes: dict[str, _Wish] = {}
        self._due = False

    def want(self, segment: str, partitions: Collection[int], changed: Callable[[], None]) -> None:
        """Ask for partitions; each look takes those that are free. Asking again adds partitions.

        Args:
            segment: Of which segment.
            partitions: Which.
            changed: Called, on the heartbeat's thread, when some were taken or lost.
        """
        claimant = leases.Claimant(
            self._pipeline, segment, self._owner, socket.gethostname(), os.getpid()
        )
        with self._changed:
            wish = _Wish(claimant, set(), changed, self._take_over)
            wish = self._wishes.setdefault(segment, wish)
            wish.partitions |= set(partitions)
            wish.changed = changed
            self._due = True
            self._changed.notify_all()

    def owned(self, segment: str, timeout: float) -> dict[int, int]:
        """The epochs of the partitions held; waits up to `timeout` seconds for the first."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._wishes[segment].held), timeout)
            return dict(self._wishes[segment].held)

    def holders(self, segment: str) -> str:
        """Say who holds what this process wants."""
        with self._changed:
            return self._wishes[segment].holders

    def recheck(self) -> None:
        """Look at the leases now: a sink says that one is lost."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def run(self, stop: Stop) -> None:
        """Look after the leases until `stop`; the body of the heartbeat's thread."""
        while not stop.asked:
            try:
                self.beat()
            except Unavailable:
                self._reconnect()
            with self._changed:
                self._changed.wait_for(lambda: self._due, BEAT)
                self._due = False

    def _reconnect(self) -> None:
        try:
            self._revive()
            self._home.open()
        except Unavailable:
            return  # the next beat tries again; meanwhile the sinks' epochs fence

    def beat(self) -> None:
        """Renew what is held, take what is free; end what a stopped process has left locked."""
        with stalls.attended(self._home.url):
            with self._home.transaction() as cursor:
                stalls.end(cursor)
            self._look_at_all()

    def _look_at_all(self) -> None:
        with self._changed:
            wishes = list(self._wishes.values())
        for wish in wishes:
            with self._home.transaction() as cursor:
                held, holders = self._look(cursor, wish)
            with self._changed:
                different = held != wish.held
                wish.held, wish.holders, wish.take_over = held, holders, False
                if different:
                    self._changed.notify_all()
            if different:
                wish.changed()

    def _look(self, cursor: Cursor, wish: _Wish) -> tuple[dict[int, int], str]:
        held = dict(wish.held)
        if held:
            for lost in leases.renew(cursor, wish.claimant, held, self._ttl):
                del held[lost]
        missing = wish.partitions - set(held)
        if missing:
            take = leases.take_over if wish.take_over else leases.acquire
            held.update(take(cursor, wish.claimant, missing, self._ttl))
        if held:
            return held, ""
        names = leases.holders(cursor, self._pipeline, wish.claimant.segment)
        return held, "; ".join(sorted({f"held by {holder}" for holder in names}))

    def release(self) -> None:
        """Give everything back."""
        with self._changed:
            wishes = list(self._wishes.values())
        with self._home.transaction() as cursor:
            for wish in wishes:
                leases.release(cursor, wish.claimant, list(wish.held))
