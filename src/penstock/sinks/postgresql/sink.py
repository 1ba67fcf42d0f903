"""The sink that writes a lane's rows and its progress in one transaction of PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import polars as pl
import psycopg
from psycopg import sql

from penstock import receipts as counting
from penstock.errors import Refused, Rejected, Unavailable
from penstock.interfaces import Capabilities
from penstock.plan import REPLAY, Lane
from penstock.postgresql import connection, progress, stalls
from penstock.records import LaneKey, Progress, Receipt, Step
from penstock.sinks.postgresql import belonging
from penstock.sinks.postgresql.apart import Apart
from penstock.sinks.postgresql.bisection import guilty_rows
from penstock.sinks.postgresql.columns import from_select, selected
from penstock.sinks.postgresql.session import DATABASE_ERRORS, Session, translate
from penstock.sinks.postgresql.table import Table, findings, read, refuse
from penstock.sinks.postgresql.writers import (
    AppendWriter,
    UpsertWriter,
    per_partition,
    superseded_only,
)


class PostgresqlSink:
    """Writes a lane into a table: exactly once, by COPY.

    Rows and progress are in one transaction, conditional on the progress and the epoch that the
    lane's owner read. Upsert: the row with the highest order stamp stays, whatever comes late;
    deletes are remembered. Append: every row carries its position.

    Args:
        url: The store, `postgresql://…`, perhaps with `schema=name`.
        lane: The lane, of mode `upsert` or `append`.
        key: Under what the progress is kept.
    """

    def __init__(self, url: str, lane: Lane, key: LaneKey) -> None:
        upsert = lane.mode == "upsert"
        self.capabilities = Capabilities(upsert=bool(lane.key), delete=upsert, apart=True)
        self._url = url
        self._key = key
        self._table = Table(lane, connection.split(url)[1])
        self._apart = Apart(url, self._table, key)
        self._writer = UpsertWriter(self._table) if upsert else AppendWriter(self._table)
        self._session: Session | None = None
        self._shape = ""
        self._epochs: dict[int, int] = {}
        self._held: set[int] = set()
        self._staged: Counter[int] = Counter()
        self._superseded: Counter[int] = Counter()
        self._committed_apart = 0

    # --- before the first row ---

    def open(self) -> None:
        with connection.errors(), stalls.attended(self._url), self._dial() as control:
            progress.install(control)
            with control.transaction():
                # processes that start together take turns
                control.execute("SELECT pg_advisory_xact_lock(hashtext('penstock.install'))")
                for change in self._table.plan(control, self._key):
                    control.execute(change.statement)
                belonging.own(control, self._table, self._key)
                self._shape = self._table.shape_in(control)

    def preview(self) -> Sequence[str]:
        with connection.errors(), self._dial() as control:
            return [change.words for change in self._table.plan(control, self._key)]

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self.rollback()
        with connection.errors(), self._dial() as control:
            claimed = progress.claim(control, self._key, epochs)
        self._epochs.update(epochs)
        return claimed

    def progress(self) -> Mapping[int, Progress]:
        with connection.errors(), self._dial() as control:
            return progress.read(control, self._key) if progress.installed(control) else {}

    # --- one micro-batch ---

    def stage(self, rows: pl.DataFrame) -> Receipt:
        with self._failures():
            session = self._begin(self._partitions(rows))
            arranged, superseded = self._writer.arrange(rows)
            self._writer.stage(session, arranged)
        staged = per_partition(rows)
        self._staged += staged
        self._superseded += superseded
        return Receipt(dict(staged))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        apart = [receipt for receipt in receipts if receipt.token]
        with self._failures():
            staged = self._staged + counting.total(apart)
            counting.check(self._key.lane, receipts, staged, steps)
            session = self._begin(steps)
            if apart:
                self._adopt(session, apart)
            counts = counting.added(
                [self._writer.apply(session), superseded_only(self._superseded)]
            )
            counted = counting.counted(steps, counts)
            # one message: a process that stalls here holds no lock
            session.execute(
                sql.SQL("SET CONSTRAINTS ALL IMMEDIATE"),
                progress.move_statement(self._key, counted),
                sql.SQL("COMMIT"),
            )
        self._forget()
        if apart:
            self._committed_apart = self._apart.batch(apart[0])
            with suppress(Unavailable):  # another time
                self._apart.sweep(self._epochs, self._committed_apart)
        return {p: progress.stored(step) for p, step in counted.items()}

    def _adopt(self, session: Session, apart: Sequence[Receipt]) -> None:
        found = self._apart.find(session, apart)
        self._writer.adopt(session, found)
        self._superseded += found.superseded

    def rollback(self) -> None:
        self._forget()
        if self._session is None:
            return
        try:
            self._session.execute(sql.SQL("ROLLBACK"))
        except DATABASE_ERRORS:  # the server is away, and the transaction with it
            self._disconnect()

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        self.rollback()
        with self._failures():
            session = self._begin(self._partitions(rows))
            found = guilty_rows(session, self._writer, rows)
        self.rollback()
        return found

    # --- apart ---

    def lay(self, batch: int, partition: int, epoch: int) -> str:
        return self._apart.lay(partition, epoch, batch)

    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        arranged, superseded = self._writer.arrange(rows)
        return self._apart.bring(place, arranged, superseded)

    # --- after ---

    def positions(self) -> Iterator[pl.DataFrame]:
        spec, table = self._table.spec, self._table
        columns = [selected(field) for field in spec.fields]
        columns += [sql.Identifier(extra.name) for extra in table.extras]
        query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), table.identifier)
        reader = Session(self._url, self._key.lane)
        try:
            for frame in reader.stream(query):
                yield from_select(spec, frame)
        except DATABASE_ERRORS as error:
            raise translate(error) from error
        finally:
            reader.close()

    def sweep(self, epoch: int) -> None:
        """Drop what was staged apart; what was staged here ended with its session."""
        self._apart.sweep(self._epochs, self._committed_apart)
        self._apart.close()

    def close(self) -> None:
        self._forget()
        self._disconnect()
        self._apart.close()

    # --- inside ---

    def _dial(self) -> psycopg.Connection:
        return connection.connect(self._url, name=self._key.lane)

    def _begin(self, partitions: Collection[int]) -> Session:
        """Be in a transaction that holds these partitions and a table as it was at `open`."""
        if self._session is None:
            self._session = Session(self._url, self._key.lane)
            self._writer.prepare(self._session)
        session = self._session
        new = set(partitions) - self._held
        if not new <= self._epochs.keys():
            raise Refused(f"partitions {sorted(new - self._epochs.keys())} were not claimed")
        hold = progress.hold_statement(self._key, {p: self._epochs[p] for p in sorted(new)})
        if not self._held:
            lock = sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(self._table.identifier)
            known = sql.SQL("SELECT FROM ({}) AS t WHERE shape = {}")
            unaltered = known.format(self._table.shape, sql.Literal(self._shape))
            if not session.execute(sql.SQL("BEGIN"), hold, lock, unaltered):
                self._check_shape(session)
        elif new:
            session.execute(hold)
        self._held |= new
        return session

    def _check_shape(self, session: Session) -> None:
        """Look again at a table that was altered since `open`; the lock keeps it as it is."""
        self._refuse_if_altered()
        self._shape = session.query(self._table.shape)["shape"][0]

    def _partitions(self, rows: pl.DataFrame) -> set[int]:
        """Find under which partitions these rows' progress is kept."""
        found = set(rows["_partition"].unique())
        replayed = not found <= self._epochs.keys() and REPLAY in self._epochs
        return {REPLAY} if replayed else found

    def _forget(self) -> None:
        self._held.clear()
        self._staged.clear()
        self._superseded.clear()
        self._writer.forget()

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say what a driver's error means; leave no transaction open behind it."""
        try:
            yield
        except DATABASE_ERRORS as error:
            self.rollback()
            if error.sqlstate == progress.FENCED:
                raise progress.fenced(self._key) from error
            meaning = translate(error)
            if isinstance(meaning, Unavailable):
                self._disconnect()
                self._refuse_if_overtaken()
            if isinstance(meaning, Rejected | Refused):
                self._refuse_if_altered()
            raise meaning from error
        except BaseException:
            self.rollback()
            raise

    def _refuse_if_overtaken(self) -> None:
        """Raise `Fenced` when the session was lost because a successor ended it."""
        try:
            stands = self.progress()
        except Unavailable:
            return
        if any(stands[p].epoch > epoch for p, epoch in self._epochs.items() if p in stands):
            raise progress.fenced(self._key)

    def _refuse_if_altered(self) -> None:
        """Raise `Refused` when the table is not any more what it was at `open`."""
        with connection.errors(), self._dial() as control:
            relation = read(control, self._table.schema, self._table.name)
        if relation is None:
            raise Refused(
                f"{self._table.words} was dropped while lane {self._key.lane!r} wrote to it; "
                "nothing was written. Restore it, or start again for what can be done"
            )
        found = findings(self._table, relation)
        gone = [c.name for c in self._table.missing(relation) if not c.required]
        found += [f"column {name!r} is missing: add it" for name in gone]
        refuse(self._table, found)
