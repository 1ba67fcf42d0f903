"""A landing in PostgreSQL: what a source gave, exactly as it came, with where it stands."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl
import psycopg

from penstock.errors import Fenced, Refused
from penstock.interfaces import Cursor, Response
from penstock.logs import batch
from penstock.logs.table_log import TableLog
from penstock.logs.vault import SEALED_HEAD, Vault
from penstock.postgresql import connection, progress
from penstock.records import CUT_OFF, CUT_OFF_WHY, LogBatch, Span

if TYPE_CHECKING:
    from penstock.profile import EnvVar

_CALL = f"CALL penstock.land(%s::int, {batch.PARAMETERS}, %s, %s, %s, %s)"


class LandingLog(TableLog):
    """The log of a source's responses, of one partition; key null, the body as value.

    The ingesting process calls `cursor` first, then `append` after each response. Two processes
    cannot both land what follows one cursor: the later one is fenced.
    """

    _version: int | None = None

    def encrypt(self, keys: Sequence[EnvVar]) -> None:
        """Seal what is landed from now on, and open what was; see `Vault`.

        Args:
            keys: The first one seals, all of them open; none leaves bodies as they are.

        Raises:
            ProfileError: A key is not in the environment or too short.
        """
        self._vault = Vault(self.identity(), keys)

    @cached_property
    def _vault(self) -> Vault:
        return Vault(self.identity(), ())

    def kept_headers(self, headers: str | None) -> str | None:
        """Return headers as the table holds them."""
        return self._vault.headers(headers)

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        found = super().reread(spans)
        sealed = found.records.select(
            pl.col("headers").bin.starts_with(SEALED_HEAD).fill_null(value=False)
        ).to_series()
        if not sealed.any():
            return found
        pairs = found.records.select("value", "headers").iter_rows()
        opened = [self._vault.opened(value, headers) for value, headers in pairs]
        values, headers = zip(*opened, strict=True)
        columns = [pl.Series("value", values, pl.Binary), pl.Series("headers", headers, pl.Binary)]
        return replace(found, records=found.records.with_columns(columns))

    def cursor(self, run_id: str | None = None) -> Cursor:
        """Tell where the source stands, and go on from there.

        Args:
            run_id: A scheduler's run: an unfinished one goes on at its own cursor.
        """
        with connection.errors():
            rows = self._session.execute(
                "SELECT version, cursor, apart FROM penstock.landing_cursors"
                " WHERE id = %s AND run IN ('', %s) ORDER BY run",
                (self._entry.id, run_id or ""),
            ).fetchall()
        if not rows:
            raise Refused(f"{self._words()} was removed; start again")
        is_apart = rows[-1][2]
        self._version = rows[-1 if is_apart else 0][0]
        return self._vault.opened_cursor(rows[-1][1])

    def set_apart(self, run_id: str) -> None:
        """Give a run a cursor of its own, so that it leaves the landing's alone.

        The run begins without a cursor. Two such runs, or one and the landing's own source, may
        land at the same time.
        """
        with connection.errors():
            self._session.execute(
                "INSERT INTO penstock.landing_cursors (id, run, cursor, apart)"
                " VALUES (%s, %s, 'null', true) ON CONFLICT DO NOTHING",
                (self._entry.id, run_id),
            )

    def append(
        self, responses: Sequence[Response], run_id: str | None = None, *, finished: bool = False
    ) -> None:
        """Land responses, the last one's cursor and the end of a run in one transaction.

        Args:
            responses: In the order they came; none are needed to finish a run.
            run_id: The scheduler's run that they belong to.
            finished: Whether that run is done with them.

        Raises:
            Fenced: Another process has landed since `cursor`, or the run is finished.
            Unavailable: The outcome is unknown; `cursor` tells.
        """
        if not responses and not finished:
            return
        if self._version is None:
            raise Refused("ask the landing for its cursor before appending to it")
        headers = [self._vault.headers(headers_of(response)) for response in responses]
        now = datetime.now(UTC)
        bodies = [self._vault.body(response.body) for response in responses]
        sent = batch.bodies(bodies, headers, now)
        after = None
        if responses:
            after = self._vault.cursor(json.dumps(responses[-1].cursor, allow_nan=False))
        values = (self._entry.id, *sent, run_id or "", self._version, after, finished)
        with connection.errors():
            try:
                self._session.execute(_CALL, values)
            except psycopg.Error as error:
                if error.sqlstate == progress.FENCED:
                    raise Fenced(
                        f"another process has ingested into {self._words()} meanwhile, or run "
                        f"{run_id!r} is finished; this one stops"
                    ) from error
                raise
        self._version += 1

    def finished(self, run_id: str) -> bool:
        """Whether a scheduler's run was finished: then there is nothing left to do."""
        with connection.errors():
            row = self._session.execute(
                "SELECT finished FROM penstock.landing_cursors WHERE id = %s AND run = %s",
                (self._entry.id, run_id),
            ).fetchone()
        return bool(row and row[0])


def headers_of(response: Response) -> str | None:
    """What is known of a response, as the headers of its record; None when it is nothing."""
    facts: Mapping[str, str] = response.headers
    if response.cut_off:
        facts = dict([*facts.items(), CUT_OFF])
    if isinstance(response.cut_off, str) and response.cut_off:
        facts = {**facts, CUT_OFF_WHY: response.cut_off}
    pairs = [[name, base64.b64encode(value.encode()).decode()] for name, value in facts.items()]
    return json.dumps(pairs) if pairs else None
