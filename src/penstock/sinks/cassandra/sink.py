"""The sink that writes a lane's rows to a table of Cassandra, then its progress."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

import polars as pl

from penstock import receipts as counting
from penstock.errors import Refused, Rejected, Unavailable
from penstock.interfaces import Capabilities
from penstock.plan import Lane
from penstock.profile import Store
from penstock.records import Counts, LaneKey, Progress, Receipt, Step
from penstock.sinks.cassandra import address, belonging, keyspace, limits
from penstock.sinks.cassandra.batches import Cutter
from penstock.sinks.cassandra.columns import flat, from_rows
from penstock.sinks.cassandra.limits import Limits
from penstock.sinks.cassandra.progress import TABLE, Ledger
from penstock.sinks.cassandra.sender import Sender
from penstock.sinks.cassandra.session import Session
from penstock.sinks.cassandra.table import Table, find, table_id


class CassandraSink:
    """Writes a lane into a table by key: effectively once.

    Every row is written with its order stamp as Cassandra's time stamp, nulls included, and every
    delete likewise, so the newest row of a key stays, whatever comes late or twice. Rows are held
    until the commit; it writes them first, then moves the progress by a conditional write. What
    other machines stage they write at once. After
    a crash between the two the micro-batch is written again, which changes nothing. Readers may
    see some of its rows before the others.

    What Cassandra does not tell is not counted: a row that comes too late counts as written. Only
    rows that a newer one staged by the same call replaces count as superseded.

    Args:
        store: The store, `cassandra://…/keyspace`, with the settings of its tables.
        lane: The lane, of mode `upsert`.
        key: Under what the progress is kept.

    Raises:
        ProfileError: The URL or a table's setting is wrong.
    """

    def __init__(self, store: Store, lane: Lane, key: LaneKey) -> None:
        self.capabilities = Capabilities(
            upsert=bool(lane.key), delete=True, atomic=False, apart=True
        )
        self._address = address.read(store.url)
        self._lane = lane
        self._key = key
        self._table = Table(lane, self._address.keyspace, store)
        self._session: Session | None = None
        self._limits: Limits | None = None
        self._writing: tuple[Cutter, Sender] | None = None
        self._id: object = None
        self._frames: list[pl.DataFrame] = []
        self._staged: Counter[int] = Counter()
        self._server_rejected = False

    # --- before the first row ---

    def open(self) -> None:
        session = self._dial()
        with self._failures():
            self._id = keyspace.patiently(lambda: self._prepare(session))

    def preview(self) -> Sequence[str]:
        session = self._dial()
        with self._failures():
            changes = keyspace.plan(session, self._address, self._table, self._key)
        return [change.words for change in changes]

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self.rollback()
        ledger = self._ledger()
        with self._failures():
            return ledger.claim(epochs)

    def progress(self) -> Mapping[int, Progress]:
        session = self._dial()
        with self._failures():
            there = table_id(session, self._table.keyspace, TABLE)
            return self._ledger().read() if there else {}

    # --- one micro-batch ---

    def stage(self, rows: pl.DataFrame) -> Receipt:
        frame = flat(self._lane.spec.fields, rows)
        if found := limits.unfit(self._table, frame, self._taken()):
            self.rollback()
            raise found[0][1]
        staged = _per_partition(rows)
        self._frames.append(frame)
        self._staged += staged
        return Receipt(dict(staged))

    def lay(self, batch: int, partition: int, epoch: int) -> str:
        """Name the table as it is now; nothing needs to be made."""
        if self._id is None:
            session = self._dial()
            with self._failures():
                self._id = table_id(session, self._table.keyspace, self._table.name)
        if self._id is None:
            raise Refused(f"{self._table.words} is gone; start again for what can be done")
        return str(self._id)

    def stage_apart(self, place: str, rows: pl.DataFrame) -> Receipt:
        """Write the rows: whoever writes them once more, or late, changes nothing."""
        self._id = UUID(place)
        self.stage(rows)
        with self._failures():
            counts = self._write()
        self.rollback()
        done = {p: [c.written, c.superseded, c.deleted] for p, c in counts.items()}
        return Receipt(dict(_per_partition(rows)), json.dumps(done))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        apart = [receipt for receipt in receipts if receipt.token]
        with self._failures():
            staged = self._staged + counting.total(apart)
            counting.check(self._key.lane, receipts, staged, steps)
            if apart:
                self._refuse_if_gone()
            counts = counting.added([self._write(), *map(_written_apart, apart)])
            moved = self._ledger().move(counting.counted(steps, counts))
        self.rollback()
        return moved

    def rollback(self) -> None:
        self._frames.clear()
        self._staged.clear()

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        """Find rows that are too large without writing.

        Only where the server itself refused a row are the rows tried for real, each with its time
        stamp: those that are taken are what the next commit writes again.
        """
        self.rollback()
        frame = flat(self._lane.spec.fields, rows)
        found = dict(limits.unfit(self._table, frame, self._taken()))
        if self._server_rejected:
            with self._failures():
                self._try(frame, found)
            self._server_rejected = False
        return sorted(found.items(), key=lambda pair: pair[0])

    # --- after ---

    def positions(self) -> Iterator[pl.DataFrame]:
        session = self._dial()
        with self._failures():
            for rows in session.stream(self._table.select):
                yield from_rows(self._lane.spec, rows)

    def sweep(self, epoch: int) -> None:
        """Do nothing: what was staged and not committed was in the owner's memory."""

    def close(self) -> None:
        self.rollback()
        self._disconnect()

    # --- inside ---

    def _prepare(self, session: Session) -> object:
        before = belonging.writer(session, self._table)
        keyspace.apply(session, keyspace.plan(session, self._address, self._table, self._key))
        belonging.own(session, self._table, self._key, before)
        return table_id(session, self._table.keyspace, self._table.name)

    def _write(self) -> dict[int, Counts]:
        """Write the newest row of each key; says what became of all."""
        if not self._frames:
            return {}
        rows = pl.concat(self._frames)
        newest = _newest(rows, self._table.key)
        self._refuse_if_gone()
        cutter, sender = self._writer()
        sender.send(cutter.cut(newest))
        written = _per_partition(newest.filter(~pl.col("_deleted")))
        deleted = _per_partition(newest.filter(pl.col("_deleted")))
        return {
            p: Counts(
                written=written[p], deleted=deleted[p], superseded=n - written[p] - deleted[p]
            )
            for p, n in _per_partition(rows).items()
        }

    def _try(self, rows: pl.DataFrame, found: dict[int, Rejected]) -> None:
        numbered = rows.with_row_index("_at").filter(~pl.col("_at").is_in(list(found)))
        cutter, sender = self._writer()
        sender.send(
            cutter.cut(numbered.drop("_at")),
            lambda number, error: found.update({numbered["_at"][number]: error}),
        )

    def _dial(self) -> Session:
        if self._session is None:
            self._session = Session(self._address, self._key.lane)
        return self._session

    def _ledger(self) -> Ledger:
        return Ledger(self._dial(), self._table.keyspace, self._key)

    def _taken(self) -> Limits:
        if self._limits is None:
            session = self._dial()
            with self._failures():
                self._limits = limits.read(session)
        return self._limits

    def _writer(self) -> tuple[Cutter, Sender]:
        if self._writing is None:
            session = self._dial()
            cutter = Cutter(session, self._table, self._taken().batch)
            self._writing = cutter, Sender(session)
        return self._writing

    def _disconnect(self) -> None:
        self._writing = None
        if self._session is not None:
            self._session.close()
            self._session = None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Forget what is staged; dial anew after the cluster was away, to learn why."""
        try:
            yield
        except Unavailable:
            self.rollback()
            self._disconnect()
            raise
        except Rejected:
            self.rollback()
            self._refuse_if_altered()
            self._server_rejected = True
            raise
        except BaseException:
            self.rollback()
            raise

    def _refuse_if_gone(self) -> None:
        """Raise `Refused` when the table is not the one that was there at `open`."""
        now = table_id(self._dial(), self._table.keyspace, self._table.name)
        if now != self._id:
            what = "dropped" if now is None else "dropped and created anew"
            raise Refused(
                f"{self._table.words} was {what} while lane {self._key.lane!r} wrote to it; "
                "nothing was written. Restore it, or start again for what can be done"
            )

    def _refuse_if_altered(self) -> None:
        """Raise `Refused` when the table is not any more what it was at `open`."""
        self._refuse_if_gone()
        relation = find(self._dial(), self._table.keyspace, self._table.name)
        if relation is not None:
            gone = [c.name for c in self._table.columns if c.name not in relation.columns]
            found = [f"column {name!r} was dropped" for name in gone]
            self._table.refuse(found or self._table.findings(relation))


def _written_apart(receipt: Receipt) -> dict[int, Counts]:
    return {
        int(partition): Counts(written=written, superseded=superseded, deleted=deleted)
        for partition, (written, superseded, deleted) in json.loads(receipt.token).items()
    }


def _newest(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Keep the newest row of each key."""
    if rows.select(key).n_unique() == rows.height:
        return rows
    return rows.sort("_order", "_index", maintain_order=True).unique(list(key), keep="last")


def _per_partition(rows: pl.DataFrame) -> Counter[int]:
    return Counter(dict(rows["_partition"].value_counts().iter_rows()))
