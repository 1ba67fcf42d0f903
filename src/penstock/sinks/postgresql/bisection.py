"""Finds the rows that a table rejects, those included that it rejects only together."""

from __future__ import annotations

import polars as pl
from psycopg import sql

from penstock.errors import Rejected
from penstock.sinks.postgresql.session import DATABASE_ERRORS, Session, translate
from penstock.sinks.postgresql.writers import Writer

_FOREIGN_KEY = "23503"
_NUMBER = "_number_in_batch"


def guilty_rows(session: Session, writer: Writer, rows: pl.DataFrame) -> list[tuple[int, Rejected]]:
    """Bisect in the open transaction, which the caller rolls back afterwards.

    Halves that are taken stay, so that a later row is tried on top of the earlier ones: of two
    rows that exclude each other the later one is guilty.

    Args:
        session: In a transaction.
        writer: What brings rows into the table.
        rows: All rows of the batch.

    Returns:
        Row numbers in `rows` and the store's errors, in order.
    """
    numbered = rows.with_row_index(_NUMBER)
    search = _Search(session, writer)
    while True:
        innocent = numbered.filter(~pl.col(_NUMBER).is_in(list(search.guilty)))
        # a row that a guilty one superseded comes to light and is tried now
        arranged, _ = writer.arrange(innocent)
        untried = arranged.filter(~pl.col(_NUMBER).is_in(search.taken))
        known = len(search.guilty)
        search.run(untried)
        if len(search.guilty) == known:
            return sorted(search.guilty.items())


class _Search:
    def __init__(self, session: Session, writer: Writer) -> None:
        self._session = session
        self._writer = writer
        self.guilty: dict[int, Rejected] = {}
        self.taken: list[int] = []

    def run(self, rows: pl.DataFrame) -> None:
        """Try these rows, and those again that may only have lacked a later row."""
        known = set(self.guilty)
        self._try(rows)
        orphans = [
            number
            for number, error in self.guilty.items()
            if error.code == _FOREIGN_KEY and number not in known
        ]
        while orphans:
            for number in orphans:
                del self.guilty[number]
            self._try(rows.filter(pl.col(_NUMBER).is_in(orphans)))
            left = [n for n in orphans if n in self.guilty]
            if len(left) == len(orphans):
                return
            orphans = left

    def _try(self, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            return
        error = self._attempt(rows)
        if error is None:
            self.taken += rows[_NUMBER].to_list()
        elif rows.height == 1:
            self.guilty[rows[_NUMBER][0]] = error
        else:
            middle = rows.height // 2
            self._try(rows[:middle])
            self._try(rows[middle:])

    def _attempt(self, rows: pl.DataFrame) -> Rejected | None:
        """Write the rows for real; keep them if the table takes them."""
        self._session.execute(sql.SQL("SAVEPOINT penstock_attempt"))
        try:
            self._writer.stage(self._session, rows)
            self._writer.apply(self._session)
            self._session.execute(
                sql.SQL("SET CONSTRAINTS ALL IMMEDIATE"),
                sql.SQL("RELEASE SAVEPOINT penstock_attempt"),
            )
        except DATABASE_ERRORS as error:
            meaning = translate(error)
            if not isinstance(meaning, Rejected):
                raise
            self._session.execute(sql.SQL("ROLLBACK TO SAVEPOINT penstock_attempt"))
            self._session.execute(sql.SQL("RELEASE SAVEPOINT penstock_attempt"))
            self._writer.forget()
            return meaning
        return None
