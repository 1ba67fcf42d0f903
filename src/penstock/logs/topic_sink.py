"""The sink that writes a lane's rows to a topic in PostgreSQL: exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import psycopg

from penstock import faults
from penstock.contract import encode_key
from penstock.errors import Refused, Rejected
from penstock.interfaces import Capabilities
from penstock.logs import batch, tables
from penstock.logs.topic import TopicLog
from penstock.plan import REPLAY, Lane
from penstock.postgresql import connection, progress
from penstock.records import Counts, LaneKey, Limits, Progress, Receipt, Step
from penstock.serdes.partitioner import partition_of

_CALL = f"CALL penstock.topic_commit(%s::int, {batch.PARAMETERS}, %s::text[], %s::jsonb, %s, NULL)"

_PAGE = Limits(records=50_000, bytes=64 << 20)


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
        self._entry = tables.make(self._connected(), self._wanted())

    def preview(self) -> Sequence[str]:
        with connection.errors():
            found = tables.find(self._connected(), "topic", self._lane.table)
            existing = tables.partitions(self._connected(), found) if found else 0
        if found is None:
            return [f"create topic {self._lane.table!r} with {self._lane.partitions} partitions"]
        tables.refuse_shrinking(found, existing, self._lane.partitions)
        if existing < self._lane.partitions:
            added = self._lane.partitions - existing
            return [f"add {added} partitions to topic {self._lane.table!r}, which has {existing}"]
        return []

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self.rollback()
        with connection.errors():
            return progress.claim(self._connected(), self._key, epochs)

    def stage(self, rows: pl.DataFrame) -> Receipt:
        self._staged.append(self._encoded(rows))
        return Receipt(_per_partition(rows.get_column("_partition")))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        staged = self._take(receipts, steps)
        counted = _counted(staged, steps)
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
            for partition, span in log.spans().items():
                start = span.start
                while start < span.end:
                    read = log.read({partition: start}, _PAGE)
                    yield self._decoded(read.records)
                    start = read.spans[partition].end
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

    def _encoded(self, rows: pl.DataFrame) -> pl.DataFrame:
        spec, key = self._lane.spec, self._lane.key
        keys = encode_key(spec, key, rows) if key else pl.Series("key", [None], pl.Binary)
        partitions = (
            partition_of(keys, self._lane.partitions)
            if key
            else (rows["_offset"] % self._lane.partitions).cast(pl.Int32)
        )
        deleted = rows["_deleted"].fill_null(value=False)
        return pl.select(
            partition=partitions,
            key=keys if key else pl.repeat(None, rows.height, dtype=pl.Binary),
            value=pl.when(~pl.lit(deleted)).then(pl.lit(self._lane.codec.encode(spec, rows))),
            headers=pl.repeat(None, rows.height, dtype=pl.Binary),
            born=rows["_born"],
            source=rows["_partition"],
            deleted=deleted,
        )

    def _decoded(self, records: pl.DataFrame) -> pl.DataFrame:
        kept = records.filter(pl.col("value").is_not_null())
        self._lane.codec.prepare(kept)
        rows = self._lane.codec.decode(self._lane.spec, kept["value"]).rows
        places = kept.select(pl.col("partition", "offset").name.prefix("_"))[rows["_row"]]
        return pl.concat([rows.drop("_row"), places], how="horizontal")

    def _take(self, receipts: Sequence[Receipt], steps: Mapping[int, Step]) -> pl.DataFrame:
        staged = pl.concat([_STAGED.to_frame(), *self._staged])
        self._staged.clear()
        found = _per_partition(staged["source"])
        expected = sum((Counter(r.rows) for r in receipts), Counter[int]())
        if faults.enabled("staged-count") and Counter(found) != expected:
            raise Refused(
                f"lane {self._key.lane!r} has {found} rows staged, but its receipts count "
                f"{dict(expected)}; nothing was written. Start again"
            )
        return staged


_STAGED = pl.Schema(
    {
        "partition": pl.Int32(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": pl.Binary(),
        "born": pl.Datetime("us", "UTC"),
        "source": pl.Int32(),
        "deleted": pl.Boolean(),
    }
)


def _per_partition(column: pl.Series) -> dict[int, int]:
    counts = column.value_counts()
    return dict(zip(counts[column.name], counts["count"], strict=True))


def _counted(staged: pl.DataFrame, steps: Mapping[int, Step]) -> dict[int, Step]:
    """Add what was written and deleted to each partition's totals."""
    sums = staged.group_by("source").agg(
        (~pl.col("deleted")).sum().alias("written"), pl.col("deleted").sum().alias("deleted")
    )
    counts = {source: Counts(written=w, deleted=d) for source, w, d in sums.iter_rows()}
    if REPLAY in steps:
        counts = {REPLAY: sum(counts.values(), Counts())}
    elif strange := counts.keys() - steps.keys():
        raise Refused(f"rows of partitions {sorted(strange)} are staged, but do not move")
    return {
        partition: replace(
            step,
            after=replace(step.after, totals=step.after.totals + counts.get(partition, Counts())),
        )
        for partition, step in steps.items()
    }
