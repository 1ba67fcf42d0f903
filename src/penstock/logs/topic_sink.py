"""The sink that writes a lane's rows to a topic in PostgreSQL: exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import psycopg

from penstock import faults
from penstock.errors import Refused, Rejected
from penstock.interfaces import Capabilities
from penstock.logs import batch, staging, tables
from penstock.logs.paging import pages
from penstock.logs.topic import TopicLog
from penstock.plan import Lane
from penstock.postgresql import connection, progress, stalls
from penstock.records import LaneKey, Progress, Receipt, Step
from penstock.units import counted

_CALL = f"CALL penstock.topic_commit(%s::int, {batch.PARAMETERS}, %s::text[], %s::jsonb, %s, NULL)"


class TopicSink:
    """Appends a lane's rows to a topic. Guarantee: exactly-once.

    Rows are staged in memory, encoded. The commit is one message: the server checks and moves the
    progress, takes the next offsets, writes the records and commits, so that a client that stalls
    holds no lock and leaves no gap.

    Args:
        url: The log's database.
        lane: The lane, of mode `topic`.
        key: Under what the progress is kept.
    """

    capabilities = Capabilities()

    def __init__(self, url: str, lane: Lane, key: LaneKey) -> None:
        self._url = url
        self._lane = lane
        self._key = key
        self._session: psycopg.Connection[Any] | None = None
        self._entry: tables.Entry | None = None
        self._staged: list[pl.DataFrame] = []

    def open(self) -> None:
        with stalls.attended(self._url):
            self._entry = tables.make(self._connected(), self._wanted())

    def preview(self) -> Sequence[str]:
        with connection.errors():
            found = tables.find(self._connected(), "topic", self._lane.table)
            existing = tables.partitions(self._connected(), found) if found else 0
        if found is None:
            partitions = counted(self._lane.partitions, "partition")
            return [f"create topic {self._lane.table!r} with {partitions}"]
        tables.refuse_shrinking(found, existing, self._lane.partitions)
        if existing < self._lane.partitions:
            added = counted(self._lane.partitions - existing, "partition")
            return [f"add {added} to topic {self._lane.table!r}, which has {existing}"]
        return []

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self.rollback()
        with connection.errors():
            return progress.claim(self._connected(), self._key, epochs)

    def stage(self, rows: pl.DataFrame) -> Receipt:
        records = staging.staged(self._lane, rows)
        if self._lane.shared:
            records = records.with_columns(headers=pl.lit(staging.signed(self._key)))
        self._staged.append(records)
        return Receipt(staging.per_partition(rows.get_column("_partition")))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        frames, self._staged = self._staged, []
        staged = staging.gathered(self._key.lane, frames, receipts, steps)
        counted = staging.counted(staged, steps)
        sent = batch.arguments(staged)
        key = [self._key.pipeline, self._key.log_id, self._key.segment, self._key.lane]
        fencing = faults.enabled("fencing")
        values = (self._made().id, *sent, key, progress.moves(counted), fencing)
        with connection.errors():
            try:
                self._connected().execute(_CALL, values)
            except psycopg.Error as error:
                if error.sqlstate == progress.FENCED:
                    raise progress.fenced(self._key) from error
                raise
        return {partition: progress.stored(step) for partition, step in counted.items()}

    def rollback(self) -> None:
        self._staged.clear()

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        """Find nothing: a topic takes whatever the contract can encode."""
        self.rollback()
        return []

    def positions(self) -> Iterator[pl.DataFrame]:
        """Yield the topic's records: `_partition` and `_offset` are the topic's own."""
        log = TopicLog(self._url, self._made(), connection.connect(self._url, name=self._key.lane))
        try:
            for records in pages(log):
                yield self._decoded(records)
        finally:
            log.close()

    def progress(self) -> Mapping[int, Progress]:
        with connection.errors():
            session = self._connected()
            return progress.read(session, self._key) if progress.installed(session) else {}

    def sweep(self, epoch: int) -> None:
        """Do nothing: what a predecessor staged was in its memory."""

    def close(self) -> None:
        self.rollback()
        if self._session:
            self._session.close()

    def _wanted(self) -> tables.Wanted:
        lane = self._lane
        return tables.Wanted("topic", lane.table, lane.partitions, lane.retention)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._session is None or self._session.closed:
            self._session = connection.connect(self._url, name=self._key.lane)
        return self._session

    def _made(self) -> tables.Entry:
        if self._entry is None:
            with connection.errors():
                self._entry = tables.find(self._connected(), "topic", self._lane.table)
        if self._entry is None:
            raise Refused(f"there is no topic {self._lane.table!r} yet; run the pipeline first")
        return self._entry

    def _decoded(self, records: pl.DataFrame) -> pl.DataFrame:
        kept = records.filter(pl.col("value").is_not_null())
        self._lane.codec.prepare(kept)
        rows = self._lane.codec.decode(self._lane.spec, kept["value"]).rows
        places = kept.select(pl.col("partition", "offset").name.prefix("_"))[rows["_row"]]
        return pl.concat([rows.drop("_row"), places], how="horizontal")
