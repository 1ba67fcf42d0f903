"""The replication protocol: make a slot, receive what it sends, say what is safe.

psycopg gives libpq's calls for it. A thread of its own tells the server every few seconds that we
live, so that a landing that is away for hours does not make the server end the connection.
"""

from __future__ import annotations

import select
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import psycopg
from psycopg import pq

from penstock.errors import PenstockError, Unavailable
from penstock.postgresql import connection
from penstock.sources.postgresql import session
from penstock.sources.postgresql.standing import lsn_number, lsn_text

_PULSE = 5.0
_PATIENCE = 0.1
_STATUS = struct.Struct("!cQQQqc")
_WAL = struct.Struct("!cQQq")
_ALIVE = struct.Struct("!cQqc")
_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds of Unix


class Alive(NamedTuple):
    """The server has sent everything that was committed up to here."""

    lsn: int


class Identity(NamedTuple):
    """Which cluster, and which of its histories."""

    system: str
    timeline: int


class Replication:
    """One replication connection; used by one thread, except for `confirm` and `close`.

    Args:
        url: Of the database.
        name: What reads, for the server's own views.
        pause: Called while nothing comes; raises to end.
    """

    def __init__(self, url: str, name: str, pause: Callable[[], None]) -> None:
        self._connection = session.replicate(url, name)
        self._libpq = self._connection.pgconn
        self._pause = pause
        self._lock = threading.Lock()
        self._confirmed = 0
        self._ended = threading.Event()
        self._pulse: threading.Thread | None = None

    @property
    def started(self) -> bool:
        """Whether it streams."""
        return self._pulse is not None

    def identify(self) -> Identity:
        """Ask the server who it is."""
        system, timeline, *_ = self._ask("IDENTIFY_SYSTEM")
        return Identity(system, int(timeline))

    def create_slot(self, name: str) -> tuple[int, str]:
        """Make a slot; waits for transactions that run now.

        Args:
            name: The slot's.

        Returns:
            Where its stream begins, and a snapshot of the database at exactly this point, which
            can be imported until this connection is used again.
        """
        row = self._ask(
            f"CREATE_REPLICATION_SLOT {_quoted(name)} LOGICAL pgoutput (SNAPSHOT 'export')"
        )
        return lsn_number(row[1]), row[2]

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Begin to stream.

        Args:
            slot: The slot's name.
            publication: The publication's.
            lsn: What ended before is not sent.
        """
        names = _quoted(publication).replace("'", "''")
        self._send(
            f"START_REPLICATION SLOT {_quoted(slot)} LOGICAL {lsn_text(lsn)} "
            f"(proto_version '1', publication_names '{names}')"
        )
        result = self._result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise _error(result)
        self._confirmed = lsn
        self._pulse = threading.Thread(target=self._beat, name="penstock-replication", daemon=True)
        self._pulse.start()

    def receive(self) -> bytes | Alive | None:
        """Take a message of the output plug-in, or news that we are up to date; None if neither."""
        try:
            with self._lock:
                size, data = self._libpq.get_copy_data(1)
                if size == 0:
                    self._libpq.consume_input()
                    size, data = self._libpq.get_copy_data(1)
        except psycopg.Error as error:
            raise self._lost(str(error)) from error
        if size == 0:
            return None
        if size < 0:
            result = self._libpq.get_result()
            raise _error(result)
        kind = bytes(data[:1])
        if kind == b"w":
            return bytes(data[_WAL.size :])
        if kind == b"k":
            _, lsn, _, reply = _ALIVE.unpack(data)
            if reply != b"\0":
                self.confirm(self._confirmed)
            return Alive(lsn)
        raise Unavailable(f"PostgreSQL sent {kind!r}, which the replication protocol does not have")

    def wait(self) -> None:
        """Wait until something may have come, a tenth of a second at most."""
        select.select([self._libpq.socket], [], [], _PATIENCE)
        self._pause()

    def confirm(self, lsn: int, *, ask: bool = False) -> None:
        """Tell the server that it may forget what ended up to here. From any thread.

        Args:
            lsn: Never less than before.
            ask: Whether it shall answer with how far it has sent.
        """
        with self._lock:
            self._confirmed = max(self._confirmed, lsn)
            now = time.time_ns() // 1000 - _EPOCH
            at = self._confirmed
            status = _STATUS.pack(b"r", at, at, at, now, b"\1" if ask else b"\0")
            try:
                self._libpq.put_copy_data(status)
                self._libpq.flush()
            except psycopg.Error as error:
                raise self._lost(str(error)) from error

    def close(self) -> None:
        """End the connection; what was confirmed is on its way."""
        self._ended.set()
        if self._pulse is not None:
            self._pulse.join()
            with suppress(Unavailable):
                self.confirm(self._confirmed)
        with self._lock:
            self._connection.close()

    def _beat(self) -> None:
        """Say that we live, until the end; whoever receives will notice a lost connection."""
        while not self._ended.wait(_PULSE):
            try:
                self.confirm(self._confirmed)
            except Unavailable:
                return

    def _ask(self, command: str) -> list[str]:
        self._send(command)
        result = self._result()
        if result is None or result.status != pq.ExecStatus.TUPLES_OK:
            raise _error(result)
        row = [(result.get_value(0, n) or b"").decode() for n in range(result.nfields)]
        while self._result() is not None:
            pass
        return row

    def _send(self, command: str) -> None:
        try:
            self._libpq.send_query(command.encode())
            self._libpq.flush()
        except psycopg.Error as error:
            raise self._lost(str(error)) from error

    def _result(self) -> pq.abc.PGresult | None:
        """Wait for the next result, and look for a stop meanwhile."""
        try:
            self._libpq.consume_input()
            while self._libpq.is_busy():
                self.wait()
                self._libpq.consume_input()
            return self._libpq.get_result()
        except psycopg.Error as error:
            raise self._lost(str(error)) from error

    def _lost(self, words: str) -> Unavailable:
        return Unavailable(f"the connection to PostgreSQL is lost: {' '.join(words.split())}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _error(result: pq.abc.PGresult | None) -> PenstockError:
    """What a result that is none means."""
    if result is None or result.status == pq.ExecStatus.COMMAND_OK:
        return Unavailable("PostgreSQL ended the replication; it is shutting down, or was told to")
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    said = [
        result.error_field(field)
        for field in (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.MESSAGE_DETAIL)
    ]
    words = ". ".join(part.decode(errors="replace") for part in said if part)
    return connection.from_sqlstate(state.decode() if state else None, words or "no reason given")
