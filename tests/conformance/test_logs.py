"""The logs here keep what a log promises; each check fails for a log that does not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl
import pytest

from penstock.errors import PenstockError
from penstock.interfaces import Log, Response
from penstock.logs.postgresql import open_landing, open_topic
from penstock.records import Limits, LogBatch, Span
from penstock.testing import MemoryLog
from penstock.testing.conformance import (
    KeyedLogConformance,
    LogConformance,
    LogStore,
    PartitionedLogConformance,
    RecreatedLogConformance,
    RetainingLogConformance,
    SparseLogConformance,
)

NOTHING = b"no reader sees this"


class SparseLog(MemoryLog):
    """A log in memory with offsets that hold no record for a reader."""

    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        return self._seen(super().read(starts, limits))

    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        return self._seen(super().reread(spans))

    def _seen(self, batch: LogBatch) -> LogBatch:
        return replace(batch, records=batch.records.filter(pl.col("key").ne_missing(NOTHING)))


class MemoryLogStore(LogStore):
    partitions = 2

    def __init__(self, made: type[SparseLog] = SparseLog) -> None:
        self._log = made("log", self.partitions)

    def log(self) -> SparseLog:
        return self._log

    def append(self, partition: int, values: Sequence[bytes]) -> None:
        records = pl.DataFrame({"value": values}, schema={"value": pl.Binary})
        self._log.append(records.with_columns(partition=pl.lit(partition, pl.Int32)))

    def append_keyed(self, key: bytes, value: bytes | None) -> None:
        schema = {"key": pl.Binary, "value": pl.Binary}
        self._log.append(pl.DataFrame({"key": [key], "value": [value]}, schema=schema))

    def drop(self, partition: int, before: int) -> None:
        self._log.drop(partition, before)

    def recreate(self) -> None:
        self._log.recreate()

    def skip(self, partition: int) -> None:
        records = pl.DataFrame({"key": [NOTHING] * 3, "value": [b""] * 3})
        self._log.append(records.with_columns(partition=pl.lit(partition, pl.Int32)))


class OpenLogs(LogStore):
    """Closes what it opened."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: list[Log] = []

    def log(self) -> Log:
        self._opened.append(self._open())
        return self._opened[-1]

    def close(self) -> None:
        for log in self._opened:
            log.close()

    def _open(self) -> Log:
        raise NotImplementedError


class TopicStore(OpenLogs):
    partitions = 2

    def append(self, partition: int, values: Sequence[bytes]) -> None:
        records = pl.DataFrame({"value": values}, schema={"value": pl.Binary})
        self._append(records.with_columns(partition=pl.lit(partition, pl.Int32)))

    def append_keyed(self, key: bytes, value: bytes | None) -> None:
        schema = {"key": pl.Binary, "value": pl.Binary}
        self._append(pl.DataFrame({"key": [key], "value": [value]}, schema=schema))

    def _append(self, records: pl.DataFrame) -> None:
        topic = open_topic(self._url, "things", self.partitions)
        topic.append(records)
        topic.close()

    def _open(self) -> Log:
        return open_topic(self._url, "things", self.partitions)


class LandingStore(OpenLogs):
    def append(self, partition: int, values: Sequence[bytes]) -> None:
        landing = open_landing(self._url, "shop", "raw_things")
        landing.cursor()
        landing.append([Response(value, cursor=None) for value in values])
        landing.close()

    def _open(self) -> Log:
        return open_landing(self._url, "shop", "raw_things")


class TestMemoryLog(
    LogConformance,
    PartitionedLogConformance,
    KeyedLogConformance,
    RetainingLogConformance,
    RecreatedLogConformance,
    SparseLogConformance,
):
    @pytest.fixture
    def store(self) -> LogStore:
        return MemoryLogStore()


class TestTopic(LogConformance, PartitionedLogConformance, KeyedLogConformance):
    @pytest.fixture
    def store(self, database: str) -> Iterator[LogStore]:
        made = TopicStore(database)
        yield made
        made.close()


class TestLanding(LogConformance):
    @pytest.fixture
    def store(self, database: str) -> Iterator[LogStore]:
        made = LandingStore(database)
        yield made
        made.close()


# --- one broken log for each check ---


class InventsARecord(SparseLog):
    def spans(self) -> Mapping[int, Span]:
        return {p: span if span.end else Span(0, 1) for p, span in super().spans().items()}


class LeavesGaps(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        batch = super().read(starts, limits)
        if batch.records["value"].to_list() != [b"a", b"b", b"c"]:
            return batch
        late = pl.col("offset") + (pl.col("offset") > 1)
        return replace(batch, records=batch.records.with_columns(offset=late))


class WideIntegers(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        batch = super().read(starts, limits)
        return replace(
            batch, records=batch.records.with_columns(pl.col("partition").cast(pl.Int64))
        )


class KeepsOnlyText(SparseLog):
    def append(self, records: pl.DataFrame, **others: object) -> dict[int, int]:
        text = pl.when(pl.col("value") != b"\xff\xfe").then("value").otherwise(b"").alias("value")
        kept = records.with_columns(text) if b"\xff\xfe" in records["value"].to_list() else records
        return super().append(kept, **others)  # type: ignore[arg-type]


class BeginsOneLate(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        if starts == {0: 1} and self.spans()[0] == Span(0, 3):
            starts = {0: 2}
        return super().read(starts, limits)


class RepeatsTheLast(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        return super().read(
            {p: 0 if s == 1 == self._ends()[p] else s for p, s in starts.items()}, limits
        )


class IgnoresRecordLimits(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        wide = replace(limits, records=limits.records if limits.records == 1 else 100)
        return super().read(starts, wide)


class IgnoresByteLimits(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        return super().read(starts, replace(limits, bytes=1 << 40))


class MayGiveNothing(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        if limits.bytes == 1:
            return super().read(self._ends(), limits)
        return super().read(starts, limits)


class RereadsMore(SparseLog):
    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        if spans == {0: Span(1, 3)} and self._ends()[0] == 4:
            spans = {0: Span(1, 4)}
        return super().reread(spans)


class ForgivesLateStarts(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        ends = self._ends()
        return super().read({p: min(s, ends.get(p, s)) for p, s in starts.items()}, limits)


class RereadsLess(SparseLog):
    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        ends = self._ends()
        return super().reread(
            {p: Span(s.start, min(s.end, ends.get(p, 0))) for p, s in spans.items()}
        )


class InventsPartitions(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        return super().read({p: s for p, s in starts.items() if p in self._ends()}, limits)


class ChangesItsIdentity(SparseLog):
    def identity(self) -> str:
        return f"{super().identity()}-{max(self._ends().values())}"


class AlwaysWaits(SparseLog):
    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        there = self._ends()[0] > starts[0]
        return super().wait(starts, timeout) and not there


class AlwaysFinds(SparseLog):
    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        return True if starts == {0: 1} else super().wait(starts, timeout)


class SleepsThroughAppends(SparseLog):
    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        if timeout == 10 and not self._ends()[0]:
            return super().wait(starts, 0.01)
        return super().wait(starts, timeout)


class SeesAWakeAsARecord(SparseLog):
    woken = False

    def wake(self) -> None:
        self.woken = True
        super().wake()

    def wait(self, starts: Mapping[int, int], timeout: float) -> bool:
        return super().wait(starts, timeout) or self.woken


class SharesOffsets(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        batch = super().read(starts, limits)
        if len(starts) < 2 or batch.records["partition"].n_unique() < 2:
            return batch
        shared = pl.int_range(pl.len(), dtype=pl.Int64)
        return replace(batch, records=batch.records.with_columns(offset=shared))


class ReadsEverything(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        return super().read({0: 0, 1: 0} if starts == {1: 0} else starts, limits)


class ScattersKeys(SparseLog):
    def append(self, records: pl.DataFrame, **others: object) -> dict[int, int]:
        if "key" in records.columns and records["value"].null_count() == 0:
            turn = sum(self._ends().values()) % 2
            records = records.with_columns(partition=pl.lit(turn, pl.Int32))
        return super().append(records, **others)  # type: ignore[arg-type]


class WritesEmptyForNull(SparseLog):
    def append(self, records: pl.DataFrame, **others: object) -> dict[int, int]:
        return super().append(records.with_columns(pl.col("value").fill_null(b"")), **others)  # type: ignore[arg-type]


class PassesOverGaps(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        kept = self._starts
        return super().read({p: max(s, kept.get(p, s)) for p, s in starts.items()}, limits)


class CountsAnew(SparseLog):
    def drop(self, partition: int, before: int) -> None:
        super().drop(partition, before)
        if not self._records[partition].height:
            self._starts[partition] = 0


class StopsAtTheLastRecord(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        batch = super().read(starts, limits)
        if self._ends()[0] != 8 or starts[0] not in (0, 5):
            return batch
        return replace(batch, spans={0: Span(0, 5)} if starts[0] == 0 else {})


class BeginsAtRecordsOnly(SparseLog):
    def read(self, starts: Mapping[int, int], limits: Limits) -> LogBatch:
        late = self._ends()[0] == 8 and starts[0] in (1, 2, 3)
        return super().read({0: 4} if late else starts, limits)


class RereadsWhatNobodySees(SparseLog):
    def reread(self, spans: Mapping[int, Span]) -> LogBatch:
        if spans == {0: Span(1, 4)}:
            return MemoryLog.reread(self, spans)
        return super().reread(spans)


class KeepsItsName(SparseLog):
    def identity(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))


BROKEN: dict[str, type[SparseLog]] = {
    "a_new_log_is_empty": InventsARecord,
    "offsets_grow_by_one_from_zero": LeavesGaps,
    "records_have_the_columns_of_a_log": WideIntegers,
    "any_bytes_come_back": KeepsOnlyText,
    "a_read_begins_where_it_is_told": BeginsOneLate,
    "a_read_at_the_end_is_empty": RepeatsTheLast,
    "a_read_is_bounded_in_records": IgnoresRecordLimits,
    "a_read_is_bounded_in_bytes": IgnoresByteLimits,
    "a_read_gives_at_least_one_record": MayGiveNothing,
    "a_reread_gives_exactly_the_spans": RereadsMore,
    "a_start_after_the_end_is_refused": ForgivesLateStarts,
    "a_reread_past_the_end_is_refused": RereadsLess,
    "an_unknown_partition_is_refused": InventsPartitions,
    "the_identity_stays": ChangesItsIdentity,
    "wait_is_over_at_once_when_there_is_a_record": AlwaysWaits,
    "wait_gives_up_after_the_time": AlwaysFinds,
    "an_append_ends_a_wait": SleepsThroughAppends,
    "wake_ends_a_wait": SeesAWakeAsARecord,
    "each_partition_has_its_own_offsets": SharesOffsets,
    "only_the_asked_partitions_are_read": ReadsEverything,
    "one_key_is_always_in_one_partition": ScattersKeys,
    "keys_and_deletes_come_back": WritesEmptyForNull,
    "dropped_records_are_never_passed_over": PassesOverGaps,
    "offsets_go_on_after_everything_was_dropped": CountsAnew,
    "a_log_made_anew_has_another_identity": KeepsItsName,
    "offsets_without_a_record_are_passed": StopsAtTheLastRecord,
    "a_read_may_begin_where_there_is_no_record": BeginsAtRecordsOnly,
    "a_reread_gives_the_records_that_there_are": RereadsWhatNobodySees,
}

SLOW = {"wait_is_over_at_once_when_there_is_a_record", "an_append_ends_a_wait", "wake_ends_a_wait"}


def checks() -> dict[str, Callable[[LogStore], object]]:
    return {
        name.removeprefix("test_"): getattr(suite(), name)
        for suite in TestMemoryLog.__mro__[1:-1]
        for name in vars(suite)
        if name.startswith("test_")
    }


def failures(made: type[SparseLog], names: set[str]) -> set[str]:
    failed = set()
    for name in names:
        try:
            checks()[name](MemoryLogStore(made))
        except (AssertionError, PenstockError, pytest.fail.Exception):
            failed.add(name)
    return failed


def test_every_check_has_a_log_that_fails_it() -> None:
    assert BROKEN.keys() == checks().keys()


@pytest.mark.parametrize("check", BROKEN)
def test_the_check_fails_and_no_other(check: str) -> None:
    quick = BROKEN.keys() - SLOW
    assert failures(BROKEN[check], quick | {check}) == {check}
