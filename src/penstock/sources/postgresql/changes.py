"""The `PostgresChanges` source: a table as it is, then every change of it.

Guarantee: each change that was committed is landed once, in commit order, also after a kill at any
point; see the class.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING
from typing import Literal as OneOf

from penstock import units
from penstock.errors import ProfileError, Refused, Unavailable
from penstock.interfaces import Clock, Cursor, Framing, Response
from penstock.sources.credentials import Text, resolve
from penstock.sources.declared import require, seconds
from penstock.sources.postgresql.standing import standing

if TYPE_CHECKING:
    from penstock.sources.postgresql.reader import Reader, Wanted

_NAME = re.compile(r"[a-z0-9_]{1,63}")
_LANDED = 3.0
_STEP = 0.05


class PostgresChanges:
    """Follow a table by logical replication: its rows first, then inserts, updates and deletes.

    Each landed line is a change: `op` (`read`, `insert`, `update`, `delete`), `key`, `after`, and
    for people `lsn`, `n` (its number in the transaction), `at` (when it was committed), `xid`,
    `table`, with REPLICA IDENTITY FULL also `before`. The contract names columns of the table. Put
    `.topic(…)` behind the source: deletes are deletes in it. An update that changes the key is a
    delete and an update.

    The slot is made at the first run. It moves on only when changes are landed. A table that is
    being read when the process is killed goes on behind the last row that was landed, and all
    changes since the slot began follow: an upsert sink ends up equal to the table; for a moment
    it may show an older version of a row again.

    Args:
        url: `postgresql://…`; its role needs REPLICATION, and SELECT on the table.
        table: The table's name, without quotes.
        publication: The publication's name; it must send the table.
        slot: The replication slot's name; by default `penstock_` and the table's name. Each source
            needs one of its own.
        schema: The table's schema.
        every: Seconds (or `"500ms"`) between two looks when nothing more has come.
        snapshot: Whether to read the rows that are there at the first run.
        truncate: `"refuse"` stops at a TRUNCATE, `"keep"` goes on and keeps the rows in the sinks.
        max_lag: How much WAL the slot may hold on the server's disk, such as `"10GB"`; None for
            no bound.
        over_lag: What to do above it: `"stop"`, or `"drop"` the slot first to save the disk.
        batch: Changes in one response, at most.

    Example:
        `ps.PostgresChanges(ps.env("SHOP_DB"), table="orders", publication="shop")`
    """

    def __init__(  # noqa: PLR0913 - these keywords are the language of the program
        self,
        url: Text,
        *,
        table: str,
        publication: str,
        slot: str | None = None,
        schema: str = "public",
        every: str | float = 0.2,
        snapshot: bool = True,
        truncate: OneOf["refuse", "keep"] = "refuse",
        max_lag: str | None = "10GB",
        over_lag: OneOf["stop", "drop"] = "stop",
        batch: int = 2000,
    ) -> None:
        slot = slot or f"penstock_{re.sub('[^a-z0-9_]', '_', table.lower())}"[:63]
        require(
            _NAME.fullmatch(slot) is not None,
            f"slot={slot!r}: a slot's name has small letters, digits and _ only, at most 63",
        )
        require(truncate in ("refuse", "keep"), f"truncate={truncate!r} is not 'refuse' or 'keep'")
        require(over_lag in ("stop", "drop"), f"over_lag={over_lag!r} is not 'stop' or 'drop'")
        require(batch > 0, f"batch={batch} would land nothing")
        self.framing = Framing(changes=True)
        self.every: float | None = seconds(every, "every")
        self._url = url
        self._wanted = (schema, table, publication, slot, snapshot, truncate)
        self._bounds = (_bytes(max_lag), over_lag == "drop", batch)
        self._reader: Reader | None = None
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._polling = False
        self._left = False
        self._heard = False

    def describe(self) -> str:
        from penstock.postgresql import connection

        schema, table, *_ = self._wanted
        try:
            return f"changes of {schema}.{table} in {connection.redact(resolve(self._url))}"
        except ProfileError as error:
            return str(error)

    def check(self) -> list[str]:
        from penstock.sources.postgresql.reader import Reader

        with closing(Reader(self._asked(), lambda: None)) as reader:
            return reader.examine()

    def poll(self, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        with self._turn:
            self._polling, self._heard = True, False
            finished = abandoned = False
            try:
                reader = self._reader_at(cursor, lambda: clock.wait(0))
                yield from self._responses(reader, cursor, clock)
                finished = True
            except GeneratorExit:
                abandoned = True
                raise
            finally:
                self._rest(finished, abandoned)

    def landed(self, cursor: Cursor) -> None:
        """Let the server forget what is landed."""
        self._heard = True
        with self._lock, suppress(Unavailable):  # the poll will notice, too
            if self._reader is not None:
                self._reader.made = False
                self._reader.confirm(standing(cursor))

    def leave(self) -> None:
        """End the connections, now or when the running poll ends."""
        with self._lock, suppress(Unavailable, Refused):  # it ends all the same
            self._left = self._polling
            if not self._polling:
                self._end()

    def _responses(self, reader: Reader, cursor: Cursor, clock: Clock) -> Iterator[Response]:
        if cursor is not None and reader.given == cursor:
            yield from reader.stream()
            return
        at = reader.begin() if cursor is None else standing(cursor)
        exported = None
        if cursor is None:
            yield Response(b"", at.cursor())
            self._await_landed(clock)
        if at.phase == "begin":
            at, exported = reader.make_slot()
        if at.phase == "read":
            if self._asked().snapshot:
                yield from reader.read(at, exported)
            else:
                yield Response(b"", at.at(at.lsn).cursor())
            at = at.at(at.lsn)
        reader.open(at)
        yield from reader.stream()

    def _await_landed(self, clock: Clock) -> None:
        """Make the slot only when it is landed that it is ours: a kill must not orphan it."""
        waited = 0.0
        while not self._heard and waited < _LANDED:
            clock.wait(_STEP)
            waited += _STEP

    def _reader_at(self, cursor: Cursor, pause: Callable[[], None]) -> Reader:
        """The reader of the last poll, if it stands there; or another one."""
        from penstock.sources.postgresql.reader import Reader

        kept = self._reader
        if kept is not None and cursor is not None and kept.given == cursor:
            kept.use(pause)
            return kept
        with self._lock:
            self._close()
        made = Reader(self._asked(), pause)
        with self._lock:
            self._reader = made
        return made

    def _rest(self, finished: bool, abandoned: bool) -> None:
        """Keep the connections for the next poll, if all is well and somebody will poll."""
        with self._lock:
            left, self._left, self._polling = self._left, False, False
            if abandoned or left:
                self._end()
            elif not finished:
                self._close()

    def _end(self) -> None:
        """Close; drop the slot if nothing was landed since it was made: it was only a look."""
        try:
            if self._reader is not None and self._reader.made:
                self._reader.drop_slot()
        finally:
            self._close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _asked(self) -> Wanted:
        from penstock.sources.postgresql.reader import Wanted

        return Wanted(resolve(self._url), *self._wanted, *self._bounds)


def _bytes(size: str | None) -> int | None:
    if size is None:
        return None
    try:
        return units.size(size)
    except ValueError as error:
        require(False, f"max_lag=: {error}")
        raise
