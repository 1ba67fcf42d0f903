"""The sink that writes a lane's rows to a topic in Kafka: exactly once for committed reads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import quote
from uuid import uuid4

import polars as pl
from confluent_kafka import TopicPartition

from penstock import faults
from penstock.errors import Fenced, Rejected, Unavailable
from penstock.interfaces import Capabilities
from penstock.logs import staging
from penstock.logs.kafka import address, client, headers, offsets, progress, topics
from penstock.logs.kafka.headers import Headers
from penstock.logs.kafka.log import open_topic
from penstock.logs.kafka.transactions import Record, Transactions
from penstock.logs.paging import pages
from penstock.plan import REPLAY, Lane
from penstock.records import LaneKey, Progress, Receipt, Step

TOO_LARGE = "MSG_SIZE_TOO_LARGE"

_OVERHEAD = 512
"""Bytes that a record needs in Kafka besides its key, its value and who wrote it, at most."""

_START = Progress(0, 0)

_SOON = 1.0
"""Seconds to wait until what is committed is visible."""


class KafkaTopicSink:
    """Appends a lane's rows to a topic. Guarantee: exactly-once for readers of what is committed.

    Rows are staged in memory, encoded. The commit is one transaction of Kafka for each partition
    that the rows came from; it holds the rows and the progress. The producer's id names the
    partition, so that a successor fences its predecessor off, whatever that one is doing.

    Args:
        url: Of the Kafka cluster.
        lane: The lane, of mode `topic`.
        key: Under what the progress is kept.
    """

    capabilities = Capabilities()

    def __init__(self, url: str, lane: Lane, key: LaneKey) -> None:
        self._url = url
        self._lane = lane
        self._key = key
        self._admin = client.admin(url)
        self._wanted = topics.Wanted(lane.table, lane.partitions, lane.retention)
        self._common: Headers = {staging.WRITER: staging.writer(key)} if lane.shared else {}
        self._topic: topics.Topic | None = None
        self._limit = 0
        self._staged: list[pl.DataFrame] = []
        self._producers: dict[int, Transactions] = {}
        self._stands: dict[int, Progress] = {}

    def open(self) -> None:
        copies = address.read(self._url).replication
        self._topic = topics.make(self._admin, self._wanted, copies)
        topics.make(self._admin, progress.wanted(self._key.pipeline), copies)
        self._limit = topics.largest_record(self._admin, self._lane.table)

    def preview(self) -> Sequence[str]:
        ours = progress.wanted(self._key.pipeline)
        return [*topics.preview(self._admin, self._wanted), *topics.preview(self._admin, ours)]

    def claim(self, epochs: Mapping[int, int]) -> Mapping[int, Progress]:
        self._leave()
        with progress.Scan(self._url, self._admin, self._key) as scan:
            self._refuse_lower(scan.glance(), epochs)  # before it fences its successor off
            self._enter(epochs)
            found = scan.stands()
        self._refuse_lower(found, epochs)
        claimed = {p: replace(found.get(p, _START), epoch=epoch) for p, epoch in epochs.items()}
        raised = {p: now for p, now in claimed.items() if now != found.get(p)}
        self._write(staging.STAGED.to_frame(), raised)
        self._stands = claimed
        return dict(claimed)

    def stage(self, rows: pl.DataFrame) -> Receipt:
        records = self._recorded(rows)
        if (self._sizes(records) > self._limit).any():
            raise Rejected("a record is too large", code=TOO_LARGE)
        self._staged.append(records)
        return Receipt(staging.per_partition(rows["_partition"]))

    def commit(
        self, receipts: Sequence[Receipt], steps: Mapping[int, Step]
    ) -> Mapping[int, Progress]:
        frames, self._staged = self._staged, []
        together = staging.gathered(self._key.lane, frames, receipts, steps)
        records, superseded = self._chosen(together, replay=REPLAY in steps)
        moved = {
            partition: replace(step.after, epoch=step.before.epoch)
            for partition, step in staging.counted(records, steps, superseded).items()
        }
        self._check(steps)
        self._write(records, moved)
        self._stands.update(moved)
        return moved

    def rollback(self) -> None:
        self._staged = []

    def isolate(self, rows: pl.DataFrame) -> Sequence[tuple[int, Rejected]]:
        self.rollback()
        sizes = self._sizes(self._recorded(rows))
        return [
            (row, Rejected(self._too_large(sizes[row]), code=TOO_LARGE))
            for row in (sizes > self._limit).arg_true().to_list()
        ]

    def positions(self) -> Iterator[pl.DataFrame]:
        """Yield the topic's records: `_partition` and `_offset` are the topic's own."""
        log = open_topic(self._url, self._lane.table)
        try:
            for records in pages(log):
                yield self._decoded(records)
        finally:
            log.close()

    def progress(self) -> Mapping[int, Progress]:
        if topics.find(self._admin, progress.topic_of(self._key.pipeline)) is None:
            return {}
        with progress.Scan(self._url, self._admin, self._key) as scan:
            stands = scan.stands()
        if topic := topics.find(self._admin, self._lane.table):
            places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            self._await_visible(offsets.sent(self._admin, places), progress.PATIENCE)
        return stands

    def sweep(self, epoch: int) -> None:
        """Do nothing: Kafka ended what a predecessor left open when this one entered."""

    def close(self) -> None:
        self.rollback()
        self._leave()

    # --- records ---

    def _recorded(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Turn rows into the records that stand for them."""
        return staging.staged(self._lane, rows)

    def _chosen(
        self, records: pl.DataFrame, *, replay: bool
    ) -> tuple[pl.DataFrame, Mapping[int, int]]:
        """Choose which are sent; of the others, how many rows of each partition there are."""
        return records, {}

    def _sizes(self, records: pl.DataFrame) -> pl.Series:
        sizes = [pl.col(name).bin.size().fill_null(0) for name in ("key", "value")]
        more = _OVERHEAD + sum(len(value or b"") for value in self._common.values())
        return records.select(size=sum(sizes, pl.lit(more)))["size"]

    # --- transactions ---

    def _enter(self, epochs: Mapping[int, int]) -> None:
        """Fence the predecessors off; each takes Kafka half a second after a kill."""
        self._producers = {
            partition: Transactions(self._url, self._id(partition), self._limit)
            for partition in epochs
        }
        with ThreadPoolExecutor(len(epochs)) as pool:
            list(pool.map(Transactions.enter, self._producers.values()))

    def _id(self, partition: int) -> str:
        key = self._key
        parts = ["penstock", key.pipeline, key.segment, key.lane, str(partition)]
        if not faults.enabled("fencing"):
            parts.append(uuid4().hex)
        return ".".join(quote(part, safe=" ").replace(".", "%2E") for part in parts)

    def _write(self, records: pl.DataFrame, moved: Mapping[int, Progress]) -> None:
        """Commit records with the progress after them, each partition's on its own."""
        producers = {partition: self._producers[partition] for partition in moved}
        try:
            for partition, producer in producers.items():
                mine = records if partition == REPLAY else records.filter(source=partition)
                self._send(producer, mine, progress.record(self._key, partition, moved[partition]))
            for producer in producers.values():
                producer.commit()
        except Rejected as error:  # the topic's limit has been lowered: it is read again
            self._leave()
            raise Unavailable(str(error)) from error
        except BaseException:
            self._leave()
            raise
        ends = {end for producer in producers.values() for end in producer.ends.items()}
        self._await_visible({TopicPartition(*place): end for place, end in ends}, _SOON)

    def _await_visible(self, ends: Mapping[TopicPartition, int], patience: float) -> None:
        """Wait until readers see it: Kafka marks partitions as committed after it said so.

        Only for those who look at once: nothing rests on it, so it ends after a while.
        """
        deadline = time.monotonic() + patience
        while ends and time.monotonic() < deadline:
            seen = offsets.seen(self._admin, ends)
            ends = {place: end for place, end in ends.items() if seen[place] < end}

    def _send(
        self, producer: Transactions, records: pl.DataFrame, moved: tuple[bytes, bytes]
    ) -> None:
        last = records["partition"].is_last_distinct()
        producer.begin()
        producer.send(self._lane.table, _columns(records.filter(~last), self._common))
        producer.send(self._lane.table, _columns(records.filter(last), self._common), watch=True)
        faults.point("copying")
        key, value = moved
        producer.send(progress.topic_of(self._key.pipeline), [(value, key, 0, None)])

    def _leave(self) -> None:
        producers, self._producers = self._producers, {}
        for producer in producers.values():
            producer.close()

    # --- refusals ---

    def _refuse_lower(self, found: Mapping[int, Progress], epochs: Mapping[int, int]) -> None:
        if any(p in found and found[p].epoch > epoch for p, epoch in epochs.items()):
            raise self._fenced()

    def _check(self, steps: Mapping[int, Step]) -> None:
        for partition, step in steps.items():
            stands = self._stands.get(partition, _START)
            same = (stands.next, stands.epoch) == (step.before.next, step.before.epoch)
            if faults.enabled("fencing") and (not same or partition not in self._producers):
                raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(
            f"another process has taken over lane {self._key.lane!r} of pipeline "
            f"{self._key.pipeline!r}; this one stops writing to it"
        )

    def _decoded(self, records: pl.DataFrame) -> pl.DataFrame:
        kept = records.filter(pl.col("value").is_not_null())
        self._lane.codec.prepare(kept)
        rows = self._lane.codec.decode(self._lane.spec, kept["value"]).rows
        places = kept.select(pl.col("partition", "offset").name.prefix("_"))[rows["_row"]]
        return pl.concat([rows.drop("_row"), places], how="horizontal")

    def _too_large(self, size: int) -> str:
        return (
            f"the record has {size} bytes, topic {self._lane.table!r} takes at most {self._limit}; "
            "raise max.message.bytes of the topic"
        )


def _columns(records: pl.DataFrame, common: Headers) -> Iterator[Record]:
    columns = (records[name].to_list() for name in ("value", "key", "partition"))
    return zip(*columns, headers.of(records, common), strict=True)
