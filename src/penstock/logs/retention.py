"""Retention: the oldest records of a log go, in whole children, once nobody needs them.

A child goes when it is older than the log's age or the log is larger than its size, and every
lane of the current program has read past it. So that little-used logs age too, the child that is
written is cut off at an eighth of either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from penstock.errors import Refused
from penstock.logs import tables
from penstock.postgresql import connection

PORTION = 8
"""How many children a retention's age or size is divided into, at least."""

_LOCK_PATIENCE = "1s"

_NOTE = """
UPDATE penstock.log_children c SET
    opened_at = CASE WHEN c.lower < h.next THEN coalesce(c.opened_at, now()) END,
    sealed_at = CASE WHEN c.upper <= h.next THEN now() END
FROM penstock.log_heads h
WHERE c.id = %s AND h.id = c.id AND h.partition = c.partition AND c.sealed_at IS NULL
    AND (c.upper <= h.next OR c.opened_at IS NULL AND c.lower < h.next)
"""

_CHILDREN = """
SELECT c.partition, c.lower, c.upper, c.sealed_at IS NOT NULL AS sealed,
    coalesce(extract(epoch FROM now() - coalesce(c.sealed_at, c.opened_at)), 0)::float8 AS age,
    coalesce(pg_total_relation_size(penstock.log_child(c.id, c.partition, c.lower)), 0) AS size
FROM penstock.log_children c WHERE c.id = %s
ORDER BY c.sealed_at, c.partition, c.lower
"""

_AHEAD = """
SELECT penstock.log_extend(h.id, h.partition, h.next + l.child_rows / 4)
FROM penstock.log_heads h JOIN penstock.logs l USING (id)
WHERE h.id = %s AND h.room < h.next + l.child_rows / 4
"""


@dataclass(frozen=True)
class Tidied:
    """What was removed.

    Args:
        records: How many records.
        children: How many tables held them.
    """

    records: int = 0
    children: int = 0

    def __add__(self, other: Tidied) -> Tidied:
        """Add up."""
        return Tidied(self.records + other.records, self.children + other.children)


@dataclass(frozen=True)
class _Child:
    partition: int
    lower: int
    upper: int
    sealed: bool
    age: float
    size: int


def tidy(url: str, kind: tables.Kind, name: str, holds: Mapping[int, int]) -> Tidied:
    """Remove what a log's retention says, and make room ahead of its writers.

    Called from time to time, by any process; readers and writers wait a second at most. What
    cannot be locked in that time is left for the next call.

    Args:
        url: Of the database.
        kind: Landing or topic.
        name: The log's name.
        holds: For each partition the least offset that a lane of the current program has still to
            read; partitions that are not named are held back by nobody.

    Raises:
        Refused: There is no such log.
        Unavailable: The database is away.
    """
    session = connection.connect(url, name=f"retention {name}")
    with session, connection.errors():
        entry = tables.find(session, kind, name)
        if entry is None:
            raise Refused(f"there is no {kind} {name!r}")
        session.execute(f"SET lock_timeout = '{_LOCK_PATIENCE}'")
        return _Tidying(session, entry, holds).run()


class _Tidying:
    def __init__(
        self, session: psycopg.Connection[Any], entry: tables.Entry, holds: Mapping[int, int]
    ) -> None:
        self._session = session
        self._log = entry.id
        self._holds = holds

    def run(self) -> Tidied:
        row = self._session.execute(
            "SELECT (retention->>'seconds')::float8, (retention->>'bytes')::float8"
            " FROM penstock.logs WHERE id = %s",
            (self._log,),
        ).fetchone()
        age, size = row or (None, None)
        children = self._children()
        if any(self._is_cut(child, age, size) for child in children):
            for partition in {c.partition for c in children if self._is_cut(c, age, size)}:
                self._locked("SELECT penstock.log_cut(%s, %s)", partition)
            children = self._children()
        tidied = self._by_age(children, age) + self._by_size(self._children(), size)
        self._locked(_AHEAD)
        return tidied

    def _children(self) -> list[_Child]:
        self._session.execute(_NOTE, (self._log,))
        with self._session.cursor(row_factory=class_row(_Child)) as cursor:
            return cursor.execute(_CHILDREN, (self._log,)).fetchall()

    def _is_cut(self, child: _Child, age: float | None, size: float | None) -> bool:
        if child.sealed:
            return False
        old = age is not None and child.age > age / PORTION
        return old or (size is not None and child.size > size / PORTION)

    def _by_age(self, children: Sequence[_Child], age: float | None) -> Tidied:
        if age is None:
            return Tidied()
        return self._drop(children, lambda child: child.age > age)

    def _by_size(self, children: Sequence[_Child], size: float | None) -> Tidied:
        if size is None:
            return Tidied()
        excess = sum(child.size for child in children) - size

        def is_over(child: _Child) -> bool:
            nonlocal excess
            over = excess > 0
            excess -= child.size if over else 0
            return over

        return self._drop(children, is_over)

    def _drop(self, children: Sequence[_Child], is_due: Callable[[_Child], bool]) -> Tidied:
        """Drop what is due, oldest first; a partition that keeps one keeps all after it."""
        kept: set[int] = set()
        tidied = Tidied()
        for child in children:
            held = child.upper > self._holds.get(child.partition, child.upper)
            if held or not child.sealed or child.partition in kept or not is_due(child):
                kept.add(child.partition)
                continue
            dropped = self._locked(
                "SELECT penstock.log_drop(%s, %s, %s)", child.partition, child.lower
            )
            if dropped:
                tidied += Tidied(dropped, 1)
            else:
                kept.add(child.partition)
        return tidied

    def _locked(self, statement: str, *arguments: int) -> int:
        """Run what locks the log; 0 when somebody else holds it for too long."""
        try:
            row = self._session.execute(statement.encode(), (self._log, *arguments)).fetchone()
        except psycopg.errors.LockNotAvailable:
            return 0
        return row[0] if row and isinstance(row[0], int) else 0
