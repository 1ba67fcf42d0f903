"""One reader of changes: its connections, and where it stands. Made anew after each failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from psycopg import sql

from penstock.errors import Refused
from penstock.interfaces import Cursor, Response
from penstock.postgresql import connection
from penstock.sources.postgresql import literals, pgoutput, session, slots, tables
from penstock.sources.postgresql.replication import Alive, Replication
from penstock.sources.postgresql.standing import Standing, lsn_number, lsn_text
from penstock.sources.postgresql.tables import Page, Table, Types, raw
from penstock.sources.postgresql.transactions import (
    AGAIN,
    Shape,
    Transactions,
    Truncates,
    read_line,
)

_log = logging.getLogger(__name__)

_BODY = 512 * 1024
_IDLE = 16 << 20
_LOOK = 5.0
_ASK = 0.05
_FEW = 100

Pause = Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What a program asked for; see `PostgresChanges`."""

    url: str
    schema: str
    table: str
    publication: str
    slot: str
    snapshot: bool
    truncates: Truncates
    max_lag: int | None
    drop: bool
    batch: int

    @property
    def name(self) -> str:
        """Who reads, for the server's own views."""
        return f"changes {self.slot}"


class Reader:
    """Reads one table's changes from one standing on.

    Args:
        wanted: What the program asked for.
        pause: Called while nothing comes; raises to end.
    """

    def __init__(self, wanted: Wanted, pause: Pause) -> None:
        self.wanted = wanted
        self.made = False
        """Whether it has made the slot, and nothing was landed since."""
        self.given: Cursor = None
        """Cursor of the last response of the stream, or where it began."""
        self._pause = pause
        self._sql = session.read(wanted.url, wanted.name)
        self._line: Replication | None = None
        self._stream: Transactions | None = None
        self._types = Types(self._sql)
        self._reached = 0
        self._looked = time.monotonic()

    def use(self, pause: Pause) -> None:
        """Go on in another poll."""
        self._pause = pause

    def close(self) -> None:
        """End both connections."""
        if self._line is not None:
            self._line.close()
        self._sql.close()

    def confirm(self, standing: Standing) -> None:
        """Let the server forget what is landed; from any thread."""
        line = self._line
        if line is not None and line.started and standing.phase == "stream":
            line.confirm(standing.lsn)

    # --- the beginning ----------------------------------------------------------------------------

    def look(self) -> tuple[Table, slots.Published, list[str]]:
        """Look at server, table and publication; say what is worth a look."""
        notes = slots.server(self._sql)
        table = tables.find(self._sql, self.wanted.schema, self.wanted.table)
        notes += slots.keyed(table)
        return table, slots.published(self._sql, self.wanted.publication, table), notes

    def examine(self) -> list[str]:
        """Look at everything that a start needs; say what it would create and what is odd."""
        _, _, notes = self.look()
        self._line = self._opened()
        self._line.identify()
        slot = slots.find(self._sql, self.wanted.slot)
        if slot is None:
            first = f"create the replication slot {self.wanted.slot!r}"
            return [f"{first}, if this is the first run; later ones need it", *notes]
        if slot.pid is None:
            slots.go_on(slot, self.wanted.slot, 0)
        self._weigh(slot)
        return notes

    def begin(self) -> Standing:
        """Where a reader stands that has landed nothing; refuses a slot that is there already."""
        if slots.find(self._sql, self.wanted.slot) is not None:
            raise Refused(
                f"there is a slot {self.wanted.slot!r} already, and this landing has read nothing "
                "from it: another pipeline's, or one that was left behind. Choose another name "
                f"with slot=, or remove it: {slots.removal(self.wanted.slot)}"
            )
        return self._facts()

    def make_slot(self) -> tuple[Standing, str]:
        """Make the slot; one of an attempt that did not get to its end is thrown away.

        Returns:
            Where a reader stands now, and a snapshot of the database at exactly this point.
        """
        slots.drop(self._sql, self.wanted.slot)
        standing = self._facts()
        assert self._line is not None  # noqa: S101 - opened for the facts
        lsn, snapshot = self._line.create_slot(standing.slot)
        self.made = True
        return replace(standing, phase="read", lsn=lsn), snapshot

    def _facts(self) -> Standing:
        table, published, _ = self.look()
        self._line = self._line or self._opened()
        who = self._line.identify()
        return Standing(*who, self.wanted.slot, published.fingerprint, table.oid, table.key)

    def drop_slot(self) -> None:
        """Remove the slot."""
        self._hang_up()
        self.made = False
        with connection.errors():
            self._sql.rollback()  # perhaps it reads the table
        slots.await_idle(self._sql, self.wanted.slot)
        slots.drop(self._sql, self.wanted.slot)

    # --- reading the table ------------------------------------------------------------------------

    def read(self, standing: Standing, snapshot: str | None) -> Iterator[Response]:
        """Yield the rows of the table as of one moment, then where the stream begins.

        Args:
            standing: The slot is there; what is before `after` is landed.
            snapshot: Of the moment at which the slot begins; None goes on with a later one, whose
                rows the stream brings up to date again.
        """
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        with connection.errors():
            self._sql.execute(begin)
            if snapshot is not None:
                given = sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot))
                self._sql.execute(given)
        self._hang_up()
        table, published, _ = self.look()
        self._verify_table(standing, table, published)
        yield from self._rows(standing, table, published)
        with connection.errors():
            self._sql.execute("COMMIT")
        yield Response(b"", standing.at(standing.lsn).cursor())

    def _rows(
        self, standing: Standing, table: Table, published: slots.Published
    ) -> Iterator[Response]:
        columns = tuple(table.column(name) for name in published.columns)
        order = tuple(table.column(name) for name in standing.key)
        written = [self._types.literal(column.type) for column in columns]
        shape = Shape(published.columns, written, standing.key)
        name = literals.text(table.words.encode())
        where = raw(f"({published.rows})") if published.rows else None
        page = Page(table, columns, order, where, self._page())
        found = tables.pages(self._sql, page, standing.after or None, self._paused)
        for rows, last in found:
            body = b"".join(read_line(name, shape, list(row)) for row in rows)
            yield Response(body, replace(standing, after=tuple(last)).cursor())

    def _page(self) -> int | None:
        return self.wanted.batch if self.wanted.batch < _FEW else None

    # --- the stream -------------------------------------------------------------------------------

    def open(self, standing: Standing) -> None:
        """Begin to stream, after a look whether it goes on where the landing ends."""
        table, published, _ = self.look()
        found = slots.find(self._sql, standing.slot)
        slot = slots.go_on(found, standing.slot, standing.lsn)
        self._verify_table(standing, table, published)
        line = self._line = self._opened()
        self._verify_server(standing, line)
        self._weigh(slot)
        place = (table.schema, table.name)
        self._stream = Transactions(standing, place, self._types.literal, self.wanted.truncates)
        self.given = standing.cursor()
        line.start(standing.slot, self.wanted.publication, standing.lsn)

    def stream(self) -> Iterator[Response]:
        """Yield changes until all that is committed now has come."""
        assert self._line is not None and self._stream is not None  # noqa: S101 - opened
        target = slots.now(self._sql)
        held: list[bytes] = []
        size, asked = 0, 0.0
        while self._reached < target or held:
            message = self._line.receive()
            if isinstance(message, bytes):
                try:
                    lines = self._taken(message)
                except Refused as error:
                    yield from self._last(held)
                    raise error from None
                held += lines
                size += sum(map(len, lines))
                if len(held) >= self.wanted.batch or size >= _BODY:
                    yield self._response(held)
                    held, size = [], 0
            elif isinstance(message, Alive):
                self._reached = self._reached if self._stream.open else message.lsn
            elif held and not self._stream.open:
                yield self._response(held)
                held, size = [], 0
            else:
                if time.monotonic() - asked > _ASK:
                    asked = time.monotonic()
                    self._line.confirm(0, ask=True)
                self._line.wait()
        yield from self._idle()

    def _last(self, lines: list[bytes]) -> Iterator[Response]:
        """What came before something that stops the source."""
        if lines:
            yield self._response(lines)

    def _taken(self, message: bytes) -> list[bytes]:
        assert self._stream is not None  # noqa: S101 - opened
        try:
            return self._stream.take(message)
        except pgoutput.Malformed as error:
            raise Refused(
                f"PostgreSQL sent what is no message of pgoutput ({error}); is there something "
                "between it and Penstock?"
            ) from error

    def _response(self, lines: list[bytes]) -> Response:
        assert self._stream is not None  # noqa: S101 - opened
        truncated, self._stream.truncated = self._stream.truncated, []
        headers = {"truncated": "; ".join(truncated)} if truncated else {}
        for what in truncated:
            _log.warning("%s; its rows stay in the sinks, as truncate='keep' says", what)
        self.given = self._stream.standing.cursor()
        return Response(b"".join(lines), self.given, headers)

    def _idle(self) -> Iterator[Response]:
        """Land the place, now and then, while other tables are written: the slot shall move on."""
        assert self._stream is not None  # noqa: S101 - opened
        standing = self._stream.standing
        if not self._stream.open and self._reached > standing.lsn:
            standing = self._stream.standing = standing.at(self._reached)
        if self._stream.truncated or standing.lsn - lsn_number(self.given["lsn"]) > _IDLE:
            yield self._response([])
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            table, published, _ = self.look()
            self._verify_table(standing, table, published)
            if slot := slots.find(self._sql, standing.slot):
                self._weigh(slot)

    # --- looks ------------------------------------------------------------------------------------

    def _opened(self) -> Replication:
        return Replication(self.wanted.url, self.wanted.name, self._paused)

    def _paused(self) -> None:
        self._pause()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _verify_server(self, standing: Standing, line: Replication) -> None:
        who = line.identify()
        if who.system != standing.system:
            raise Refused(
                f"this is another database cluster (system identifier {who.system}, it was "
                f"{standing.system}): restored by a dump, or the URL leads elsewhere. Correct the "
                f"URL, or {AGAIN}"
            )
        if who.timeline != standing.timeline:
            raise Refused(
                f"the database is on timeline {who.timeline}, it was on {standing.timeline}: after "
                "a failover or a restore nobody can tell whether what was landed is still in it; "
                f"{AGAIN}"
            )
        if (end := slots.now(self._sql)) < standing.lsn:
            raise Refused(
                f"the database's WAL ends at {lsn_text(end)}, and changes up to "
                f"{lsn_text(standing.lsn)} are landed: it was restored from a backup; {AGAIN}"
            )

    def _verify_table(self, standing: Standing, table: Table, published: slots.Published) -> None:
        if table.oid != standing.table:
            raise Refused(
                f"the table {table.words} was dropped and made again, or renamed: it is not the "
                f"one that was read; {AGAIN}"
            )
        if published.fingerprint != standing.publication:
            raise Refused(
                f"the publication {self.wanted.publication!r} was changed or made anew since it "
                f"was read first, so changes may be missing from the slot; {AGAIN}: "
                f"{slots.removal(standing.slot)}"
            )

    def _weigh(self, slot: slots.Slot) -> None:
        """Compare the WAL that the slot holds with what it may."""
        most, name = self.wanted.max_lag, self.wanted.slot
        if slot.safe is not None and slot.safe < slot.held:
            _log.warning("slot %s: the server gives it up after %d bytes more", name, slot.safe)
        if most is None or slot.held * 2 <= most:
            return
        held = f"the slot {name!r} holds {slot.held / 1e9:.1f} GB of WAL on the server's disk"
        if slot.held <= most:
            _log.warning("%s; max_lag is %.1f GB", held, most / 1e9)
            return
        if self.wanted.drop:
            self.drop_slot()
            raise Refused(f"{held}, more than max_lag, and was dropped; {AGAIN}")
        raise Refused(
            f"{held}, more than max_lag. Raise max_lag= to catch up, or remove it: "
            f"{slots.removal(name)}"
        )
