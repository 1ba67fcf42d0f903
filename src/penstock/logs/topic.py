"""A topic in PostgreSQL, as others read and write it."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from penstock.logs import batch
from penstock.logs.table_log import TableLog
from penstock.postgresql import connection
from penstock.serdes.partitioner import partition_of

_CALL = f"CALL penstock.topic_commit(%s::int, {batch.PARAMETERS}, NULL, NULL, NULL, NULL)"


class TopicLog(TableLog):
    """A topic: the log that segments read, and a plain producer for everybody else."""

    def append(self, records: pl.DataFrame) -> dict[int, int]:
        """Append records in one transaction, each partition's in order.

        Args:
            records: `value`, and any of `key`, `headers`, `born` (default now) and `partition`
                (default by the key, as Kafka's default partitioner; without a key in turn).

        Returns:
            For each partition the offset of its first record.

        Raises:
            Unavailable: The outcome is unknown.
            Refused: There is no such partition.
        """
        sent = batch.arguments(self._completed(records))
        with connection.errors():
            row = self._session.execute(_CALL, (self._entry.id, *sent)).fetchone()
        return {int(partition): base for partition, base in (row[0] if row else {}).items()}

    def _completed(self, records: pl.DataFrame) -> pl.DataFrame:
        defaults = {
            "key": pl.lit(None, pl.Binary),
            "headers": pl.lit(None, pl.Binary),
            "born": pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC")),
        }
        missing = [e.alias(name) for name, e in defaults.items() if name not in records.columns]
        completed = records.with_columns(missing).with_columns(
            pl.col("key", "value").cast(pl.Binary)
        )
        if "partition" in records.columns:
            return completed
        partitions = len(self.spans())
        by_key = pl.lit(partition_of(completed["key"].fill_null(b""), partitions))
        in_turn = (pl.int_range(pl.len()) % partitions).cast(pl.Int32)
        place = pl.when(pl.col("key").is_null()).then(in_turn).otherwise(by_key)
        return completed.with_columns(place.alias("partition"))
