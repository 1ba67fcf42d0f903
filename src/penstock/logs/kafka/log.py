"""A topic of Kafka as a log: `interfaces.Log`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import polars as pl
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import (
    EarliestSpec,
    LatestSpec,
    ListOffsetsResultInfo,
    OffsetSpec,
)

from penstock.errors import LogChanged, PenstockError, Unavailable
from penstock.logs.columns import RECORDS
from penstock.logs.kafka import address, client, topics
from penstock.logs.kafka.errors import translated
from penstock.logs.kafka.frames import frame
from penstock.logs.kafka.marks import Marks
from penstock.logs.kafka.reader import GRACE, Reader
from penstock.logs.kafka.stalls import Stalls
from penstock.records import Limits, LogBatch, Span

if TYPE_CHECKING:
    from penstock.pipeline import Retention

_SLICE = 0.02
"""Seconds after which a `wait` looks whether it was woken; records end it at once."""

_FILL = 0.005
"""Seconds that a read waits to fill a batch when more is known to be there."""

_SURE = 0.2
"""Seconds for which a topic that was there is taken to be the same one. A consumer goes on with
a topic that was made anew without a word, but not within its `fetch.error.backoff.ms`."""

_OLDEST: OffsetSpec = EarliestSpec()  # type: ignore[no-untyped-call]
_NEXT: OffsetSpec = LatestSpec()  # type: ignore[no-untyped-call]
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_SETTLING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
}
_OUT = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


def open_topic(
    url: str,
    name: str,
    partitions: int | None = None,
    retention: Retention | None = None,
    *,
    pipeline: str = "",
) -> KafkaLog:
    """Open a topic; make it when it is missing and this pipeline's to make.

    Args:
        url: Of the cluster, `kafka://…`.
        name: The topic's name.
        partitions: How many it shall have; more than there are are added, None takes the topic as
            it is and never makes it.
        retention: How long it keeps its records; None leaves it as it is.
        pipeline: Who reads it; names the groups that `KafkaLog.mark` shows to Kafka's tools.

    Raises:
        ProfileError: The URL is wrong.
        Refused: It has more partitions, is missing and not ours, or Kafka says no.
        Unavailable: Kafka is away.
    """
    admin = client.admin(url)
    wanted = topics.Wanted(name, partitions, retention)
    topic = topics.make(admin, wanted, address.read(url).replication)
    cluster = admin.result(admin.client.describe_cluster()).cluster_id
    return KafkaLog(url, admin, topic, Marks(admin, name, pipeline), cluster)


def identity(url: str, name: str, *, ours: bool) -> str | None:
    """Tell a topic's identity and make nothing; None when it is missing and ours to make.

    Raises:
        ProfileError, Refused, Unavailable: As `open_topic` does.
    """
    if ours and topics.find(client.admin(url), name) is None:
        return None
    log = open_topic(url, name)
    log.close()
    return log.identity()


def compacted(url: str, name: str) -> bool:
    """Whether a topic loses records that later ones of the same key replace.

    Raises:
        ProfileError, Refused, Unavailable: As `open_topic` does.
    """
    return topics.compacts(client.admin(url), name)


class KafkaLog:
    """What is committed in a topic. Implements `interfaces.Log`; `open_topic` makes it.

    Offsets that hold no record for a reader (markers, what was aborted or compacted) lie in the
    spans that are read and not in the records.

    Args:
        url: Of the cluster.
        admin: Asks about the topic.
        topic: As it was found.
        marks: Shows Kafka's tools how far lanes have come.
        cluster: The cluster's id.
    """

    def __init__(
        self, url: str, admin: client.Admin, topic: topics.Topic, marks: Marks, cluster: str
    ) -> None:
        self.name = topic.name
        self._url = url
        self._admin = admin
        self._topic = topic
        self._cluster = cluster
        self._marks = marks
        self._causes = client.Causes(url)
        self._reader_or_none: Reader | None = None
        self._known: dict[int, Span] = {}
        self._stalls = Stalls(topic.name)
        self._seen = time.monotonic()
        self._woken = Event()

    def identity(self) -> str:
        return f"kafka:{self._cluster}:{self._topic.id}"

    def spans(self) -> Mapping[int, Span]:
        self._recognise()
        deadline = time.monotonic() + client.PATIENCE
        while True:
            try:
                self._known = self._offsets()
            except KafkaException as error:
                if error.args[0].code() not in _SETTLING or time.monotonic() > deadline:
                    raise translated(error.args[0], self._words) from error
                time.sleep(_SLICE)  # a new partition, or one that moves, has no leader yet
            else:
                return self._known

    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        if not starts:
            return LogBatch({}, RECORDS.to_frame())
        with self._errors():
            reader = self._started(starts)
            if self._behind(reader):
                self._await(reader, self._woken.is_set)
                reader.look(_FILL, reader.fitting(limits))
            spans, messages = reader.take(limits)
        if spans:
            self._causes.clear()
            if time.monotonic() - self._seen > _SURE:
                self._recognise()
        return LogBatch(spans, frame(messages))

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        wanted = {p: span for p, span in sorted(spans.items()) if len(span)}
        ends = {partition: span.end for partition, span in wanted.items()}
        with self._errors():
            reader = self._started({p: span.start for p, span in wanted.items()}, wanted)
            pages = [RECORDS.to_frame(), *self._pages(reader, ends)]
        self._recognise()
        end = pl.col("partition").replace_strict(ends, default=0, return_dtype=pl.Int64)
        found = pl.concat(pages).filter(pl.col("offset") < end)
        return LogBatch(dict(spans), found.sort("partition", maintain_order=True))

    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._errors():
            reader = self._started(starts)
            while not self._woken.is_set():
                left = deadline - time.monotonic()
                if reader.look(max(0, min(left, _SLICE))):
                    return True
                if left <= 0:
                    return False
        self._woken.clear()
        return False

    def wake(self) -> None:
        self._woken.set()

    def mark(self, lane: str, nexts: Mapping[int, int]) -> None:
        self._marks.put(lane, nexts)

    def close(self) -> None:
        self._marks.close()
        if self._reader_or_none is not None:
            self._reader_or_none.close()
            self._reader_or_none = None

    @property
    def _words(self) -> str:
        return f"topic {self.name!r}"

    def _offsets(self) -> dict[int, Span]:
        """Ask on a connection of its own: a consumer's waits for its records."""
        places = [TopicPartition(self.name, p) for p in range(self._topic.partitions)]
        oldest = self._ask(places, _OLDEST, IsolationLevel.READ_COMMITTED)
        seen = self._ask(places, _NEXT, IsolationLevel.READ_COMMITTED)
        sent = self._ask(places, _NEXT, IsolationLevel.READ_UNCOMMITTED)
        self._admin.await_all([*oldest, *seen, *sent])
        starts, ends, last = (
            [future.result().offset for future in asked] for asked in (oldest, seen, sent)
        )
        self._stalls.look(dict(enumerate(ends)), dict(enumerate(last)))
        return dict(enumerate(map(Span, starts, ends)))

    def _ask(
        self, places: Sequence[TopicPartition], spec: OffsetSpec, level: IsolationLevel
    ) -> list[Future[ListOffsetsResultInfo]]:
        asked = dict.fromkeys(places, spec)
        futures = self._admin.client.list_offsets(asked, isolation_level=level)
        return [futures[place] for place in places]

    def _started(
        self, starts: Mapping[int, int], spans: Mapping[int, Span] | None = None
    ) -> Reader:
        """The consumer, standing at `starts`; what it cannot read is refused first."""
        if self._reader_or_none is None:
            self._reader_or_none = Reader(self._url, self.name, self._causes)
        reader = self._reader_or_none
        if spans is not None or reader.next != dict(starts):
            known = self.spans()
            for partition, start in starts.items():
                end = spans[partition].end if spans else start
                self._check(known, partition, Span(start, end))
            reader.start(starts, GRACE if spans is None else 0.0)
        return reader

    def _check(self, known: Mapping[int, Span], partition: int, asked: Span) -> None:
        if partition not in known:
            raise LogChanged(f"{self._words} has no partition {partition} any more")
        span = known[partition]
        if asked.start < span.start:
            raise LogChanged(
                f"{self._words} keeps partition {partition} from offset {span.start} on, but the "
                f"next one to read is {asked.start}: retention or a person removed the records "
                "before they were read. Lengthen its retention; to go on without them, have the "
                "topic made anew and run with --accept-log"
            )
        if asked.end > span.end:
            raise LogChanged(
                f"{self._words} ends at offset {span.end} of partition {partition}, but "
                f"{asked.end} was read before: brokers lost records, or it was restored. Bring "
                "the records back; or have the topic made anew and run with --accept-log"
            )

    def _pages(self, reader: Reader, ends: Mapping[int, int]) -> Iterator[pl.DataFrame]:
        """Read on to these ends, or a little further."""
        while reader.next:
            self._await(reader)
            _, messages = reader.take(_PAGE)
            yield frame(messages)
            reader.leave({p for p, at in reader.next.items() if at >= ends[p]})

    def _behind(self, reader: Reader) -> bool:
        """Whether more is known to be there than was taken."""
        return any(at < self._known[p].end for p, at in reader.next.items())

    def _await(self, reader: Reader, stop: Callable[[], bool] = lambda: False) -> None:
        deadline = time.monotonic() + client.PATIENCE
        while not reader.look(_SLICE) and not stop():
            if time.monotonic() > deadline:
                raise self._causes.away()

    def _recognise(self) -> None:
        """Make sure that the topic is the one that was opened; it may have grown."""
        found = topics.find(self._admin, self.name)
        if found is None:
            time.sleep(_SLICE)  # a broker that has just started may not know it yet
            found = topics.find(self._admin, self.name)
        if found is None or found.id != self._topic.id:
            what = "deleted" if found is None else "deleted and made anew"
            raise LogChanged(
                f"{self._words} was {what} while it was read. Bring the old one back, or run with "
                "--accept-log to read a new one from its start"
            )
        self._topic = found
        self._seen = time.monotonic()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._meaning(error.args[0]) from error

    def _meaning(self, error: KafkaError) -> PenstockError:
        """What a consumer's error means; raises what the topic itself tells of it."""
        if error.code() not in _GONE | _OUT:
            return translated(error, self._words)
        known = self.spans()
        for partition, at in self._reader_or_none.next.items() if self._reader_or_none else ():
            self._check(known, partition, Span(at, at))
        return Unavailable(f"{self._words}: {error.str()}; trying again")


_PAGE = Limits(records=10_000, bytes=8 << 20)
