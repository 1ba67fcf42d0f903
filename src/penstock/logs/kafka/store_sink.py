"""The sink that writes a table lane's rows to a topic of a store in Kafka: exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from penstock.errors import ContractError, Refused
from penstock.interfaces import Capabilities
from penstock.logs import staging
from penstock.logs.kafka import headers, store, topics
from penstock.logs.kafka.log import open_topic
from penstock.logs.kafka.topic_sink import KafkaTopicSink
from penstock.logs.paging import pages

if TYPE_CHECKING:
    from penstock.plan import Lane
    from penstock.profile import Store
    from penstock.records import LaneKey

_NEWEST = ["_order", "_index"]


class KafkaStoreSink(KafkaTopicSink):
    """Writes a lane to a topic of any cluster. Guarantee: exactly-once for committed reads.

    Rows and progress are one transaction of Kafka, as in `KafkaTopicSink`, and so is fencing. Of
    mode `append` every row is a record. Of mode `upsert` the topic is compacted; the newest row of
    each key in a micro-batch is a record, and a delete is one without a value. Headers carry the
    time of birth, the position, the order stamp and who wrote the record; other writers' records
    may stand between.

    A dead letter that is replayed after a newer row of its key is superseded, for readers keep
    the last record. When partitions are added to the log that is read, versions of one key may
    stand in the wrong order around that moment: the order stamp tells.

    Args:
        place: The store, `kafka://…`, with the settings of its tables.
        lane: The lane, of mode `upsert` or `append`.
        key: Under what the progress is kept.

    Raises:
        ProfileError: The URL or a setting is wrong.
    """

    capabilities = Capabilities(forgets=True)

    def __init__(self, place: Store, lane: Lane, key: LaneKey) -> None:
        self._target = store.read(place, lane)
        super().__init__(place.url, self._target.lane, key)
        self._common = {staging.WRITER: staging.writer(key)}

    def open(self) -> None:
        try:
            self._lane.codec.register(self._lane.spec)
        except ContractError as error:  # of this lane alone: the others' topics do not need it
            raise Refused(str(error)) from error
        self._look()
        super().open()

    def preview(self) -> Sequence[str]:
        self._look()
        return [*self._lane.codec.preview(self._lane.spec), *super().preview()]

    def positions(self) -> Iterator[pl.DataFrame]:
        """Yield this pipeline's rows: each that was appended, or the newest of each key."""
        if self._lane.mode == "append":
            yield from (self._rows(own, ["_partition", "_offset", "_index"]) for own in self._own())
            return
        newest = pl.concat([headers.MARKED.to_frame(), *self._own()]).sort(*_NEWEST)
        newest = newest.unique("key", keep="last", maintain_order=True)
        yield self._rows(newest, ["_order"])

    def identity(self) -> str:
        assert self._topic is not None  # noqa: S101
        return self._topic.id

    def forgotten(self) -> str:
        """Say why the topic may have no more what was written to it; empty when it has all."""
        if self._lane.mode == "append" and topics.compacts(self._admin, self._lane.table):
            return "it is compacted"
        with closing(open_topic(self._url, self._lane.table)) as log:
            cut = any(span.start for span in log.spans().values())
        return "retention took its oldest records" if cut else ""

    def _look(self) -> None:
        """Take the partitions that the topic has, unless the profile says how many."""
        if self._target.partitions is None:
            found = topics.find(self._admin, self._lane.table)
            partitions = found.partitions if found else self._target.lane.partitions
            self._lane = replace(self._lane, partitions=partitions)
        self._wanted = self._target.wanted(self._lane.partitions)

    # --- records ---

    def _recorded(self, rows: pl.DataFrame) -> pl.DataFrame:
        place = pl.concat_str("_partition", "_offset", "_index", separator="/")
        more = rows.select(place.alias("position"), order="_order", index="_index")
        return staging.staged(self._lane, rows).hstack(more)

    def _chosen(
        self, records: pl.DataFrame, *, replay: bool
    ) -> tuple[pl.DataFrame, Mapping[int, int]]:
        """Keep the newest of each key, and in a replay only what is newer than the topic."""
        if self._lane.mode == "append" or records.is_empty():
            return records, {}
        newest = pl.int_range(pl.len()) == pl.len() - 1
        by = ["key"] if replay else ["source", "key"]
        kept = records.with_row_index("_row").sort("order", "index", maintain_order=True)
        kept = kept.filter(newest.over(by)).sort("_row").drop("_row")
        if replay:
            kept = kept.join(self._newer(kept), on="key", how="anti")
        gone = staging.per_partition(records["source"])
        for source, rows in staging.per_partition(kept["source"]).items():
            gone[source] -= rows
        return kept, gone

    def _newer(self, records: pl.DataFrame) -> pl.DataFrame:
        """Which keys have a newer row in the topic; reads all of it, as replays are few."""
        keys = records.select("key", "order")
        found = [own.join(keys, on="key", how="inner") for own in self._own()]
        newer = [frame.filter(pl.col("_order") > pl.col("order")).select("key") for frame in found]
        return pl.concat([keys.select("key").clear(), *newer]).unique()

    # --- reading back ---

    def _own(self) -> Iterator[pl.DataFrame]:
        """Yield the topic's records that this pipeline wrote, with what their headers tell."""
        mine = staging.writer(self._key).partition(b"/")[0] + b"/"
        with closing(open_topic(self._url, self._lane.table)) as log:
            for records in pages(log):
                both = records.select("key", "value").hstack(headers.marks(records))
                ours = pl.col("writer").bin.starts_with(mine) & pl.col("_offset").is_not_null()
                yield both.filter(ours).select(headers.MARKED.names())

    def _rows(self, records: pl.DataFrame, places: list[str]) -> pl.DataFrame:
        kept = records.filter(pl.col("value").is_not_null())
        self._lane.codec.prepare(kept)
        rows = self._lane.codec.decode(self._lane.spec, kept["value"]).rows
        columns = rows.select(self._lane.spec.polars.names())
        return pl.concat([columns, kept.select(places)[rows["_row"]]], how="horizontal")
