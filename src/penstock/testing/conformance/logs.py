"""What every log must do, as pytest classes to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import polars as pl
import pytest

from penstock.errors import LogChanged
from penstock.interfaces import Log
from penstock.plan import BATCH_SCHEMA
from penstock.records import Limits, LogBatch, Span

ALL = Limits(records=1_000_000, bytes=1 << 30)
ANY_BYTES = (b"plain", b"", b" ", b"\0", b"\xff\xfe", bytes(range(256)), b"a\nb", "☃".encode())


class LogStore(ABC):
    """A log under test, empty at the start of each check.

    Args:
        partitions: How many the log has, at least one.
    """

    partitions = 1

    @abstractmethod
    def log(self) -> Log:
        """Open the log, as another process would. The fixture closes it."""

    @abstractmethod
    def append(self, partition: int, values: Sequence[bytes]) -> None:
        """Append records with these values, committed on return."""

    def append_keyed(self, key: bytes, value: bytes | None) -> None:
        """Append one record with a key; a value of None is a delete."""
        raise NotImplementedError

    def drop(self, partition: int, before: int) -> None:
        """Drop the records before an offset, as retention does."""
        raise NotImplementedError

    def recreate(self) -> None:
        """Delete the log and make it anew under the same name."""
        raise NotImplementedError

    def skip(self, partition: int) -> None:
        """Use up some offsets that hold nothing for a reader, as an aborted transaction does."""
        raise NotImplementedError


class LogConformance:
    """What every log must do.

    Subclass it in a test module, and give it the log. `KeyedLogConformance`,
    `PartitionedLogConformance`, `RetainingLogConformance`, `RecreatedLogConformance` and
    `SparseLogConformance` go beside it where they apply.

    Example:
        class TestMyLog(LogConformance):
            @pytest.fixture
            def store(self, tmp_path):
                return MyLogStore(tmp_path)
    """

    def test_a_new_log_is_empty(self, store: LogStore) -> None:
        assert store.log().spans() == {p: Span(0, 0) for p in range(store.partitions)}
        assert _read(store, 0).records.is_empty()

    def test_offsets_grow_by_one_from_zero(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b"])
        store.append(0, [b"c"])
        batch = _read(store, 0)
        assert batch.records["offset"].to_list() == [0, 1, 2]
        assert batch.records["value"].to_list() == [b"a", b"b", b"c"]
        assert batch.spans == {0: Span(0, 3)}
        assert store.log().spans()[0] == Span(0, 3)

    def test_records_have_the_columns_of_a_log(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        wanted = [(n, t) for n, t in BATCH_SCHEMA.items() if n != "order"]
        assert list(_read(store, 0).records.schema.items()) == wanted
        assert list(_read(store, 1).records.schema.items()) == wanted
        assert _read(store, 0).records["born"].null_count() == 0

    def test_any_bytes_come_back(self, store: LogStore) -> None:
        store.append(0, ANY_BYTES)
        assert tuple(_read(store, 0).records["value"]) == ANY_BYTES

    def test_a_read_begins_where_it_is_told(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b", b"c"])
        batch = _read(store, 1)
        assert batch.records["value"].to_list() == [b"b", b"c"]
        assert batch.spans == {0: Span(1, 3)}

    def test_a_read_at_the_end_is_empty(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        batch = _read(store, 1)
        assert batch.records.is_empty()
        assert not any(len(span) for span in batch.spans.values())

    def test_a_read_is_bounded_in_records(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b", b"c"])
        batch = store.log().read({0: 0}, Limits(records=2, bytes=1 << 20))
        assert batch.records["value"].to_list() == [b"a", b"b"]
        assert batch.spans == {0: Span(0, 2)}

    def test_a_read_is_bounded_in_bytes(self, store: LogStore) -> None:
        store.append(0, [b"x" * 1000] * 10)
        assert 1 <= store.log().read({0: 0}, Limits(records=10, bytes=3000)).records.height <= 3

    def test_a_read_gives_at_least_one_record(self, store: LogStore) -> None:
        store.append(0, [b"x" * 1000] * 2)
        assert store.log().read({0: 0}, Limits(records=1, bytes=1)).records.height == 1

    def test_a_reread_gives_exactly_the_spans(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b", b"c", b"d"])
        batch = store.log().reread({0: Span(1, 3)})
        assert batch.spans == {0: Span(1, 3)}
        assert batch.records["value"].to_list() == [b"b", b"c"]

    def test_a_start_after_the_end_is_refused(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        with pytest.raises(LogChanged):
            _read(store, 2)

    def test_a_reread_past_the_end_is_refused(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        with pytest.raises(LogChanged):
            store.log().reread({0: Span(0, 2)})

    def test_an_unknown_partition_is_refused(self, store: LogStore) -> None:
        with pytest.raises(LogChanged):
            store.log().read({store.partitions: 0}, ALL)

    def test_the_identity_stays(self, store: LogStore) -> None:
        first = store.log().identity()
        store.append(0, [b"a"])
        assert first
        assert store.log().identity() == first

    def test_wait_is_over_at_once_when_there_is_a_record(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        assert store.log().wait({0: 0}, 10) is True

    def test_wait_gives_up_after_the_time(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        assert store.log().wait({0: 1}, 0.05) is False

    def test_an_append_ends_a_wait(self, store: LogStore) -> None:
        log = store.log()
        log.wait({0: 0}, 0)
        timer = threading.Timer(0.1, lambda: store.append(0, [b"a"]))
        timer.start()
        started = time.monotonic()
        assert log.wait({0: 0}, 10) is True
        assert time.monotonic() - started < 5
        timer.join()

    def test_wake_ends_a_wait(self, store: LogStore) -> None:
        log = store.log()
        timer = threading.Timer(0.1, log.wake)
        timer.start()
        started = time.monotonic()
        assert log.wait({0: 0}, 10) is False
        assert time.monotonic() - started < 5
        timer.join()


class PartitionedLogConformance:
    """What a log must do besides whose store has at least two partitions."""

    def test_each_partition_has_its_own_offsets(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b"])
        store.append(1, [b"c"])
        batch = _read_from(store.log(), {0: 0, 1: 0})
        places = batch.records.select("partition", "offset").rows()
        assert places == [(0, 0), (0, 1), (1, 0)]
        assert batch.records["value"].to_list() == [b"a", b"b", b"c"]

    def test_only_the_asked_partitions_are_read(self, store: LogStore) -> None:
        store.append(0, [b"a"])
        store.append(1, [b"c"])
        batch = store.log().read({1: 0}, ALL)
        assert batch.records["value"].to_list() == [b"c"]
        assert batch.spans.keys() == {1}


class KeyedLogConformance:
    """What a topic must do besides (`LogStore.append_keyed`)."""

    def test_one_key_is_always_in_one_partition(self, store: LogStore) -> None:
        for number in range(4):
            store.append_keyed(b"key", str(number).encode())
        records = _read_all(store)
        assert records["value"].to_list() == [b"0", b"1", b"2", b"3"]
        assert records["partition"].n_unique() == 1

    def test_keys_and_deletes_come_back(self, store: LogStore) -> None:
        store.append_keyed(b"\0key\xff", None)
        assert _read_all(store).select("key", "value").rows() == [(b"\0key\xff", None)]


class RetainingLogConformance:
    """What a log must do besides that drops old records (`LogStore.drop`)."""

    def test_dropped_records_are_never_passed_over(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b", b"c"])
        store.drop(0, 2)
        assert store.log().spans()[0] == Span(2, 3)
        assert _read(store, 2).records["value"].to_list() == [b"c"]
        with pytest.raises(LogChanged):
            _read(store, 1)

    def test_offsets_go_on_after_everything_was_dropped(self, store: LogStore) -> None:
        store.append(0, [b"a", b"b"])
        store.drop(0, 2)
        store.append(0, [b"c"])
        assert _read(store, 2).records["offset"].to_list() == [2]


class RecreatedLogConformance:
    """What a log must do besides that can be made anew (`LogStore.recreate`)."""

    def test_a_log_made_anew_has_another_identity(self, store: LogStore) -> None:
        first = store.log().identity()
        store.recreate()
        assert store.log().identity() != first


class SparseLogConformance:
    """What a log must do besides that gives offsets to what no reader sees (`LogStore.skip`)."""

    def test_offsets_without_a_record_are_passed(self, store: LogStore) -> None:
        ends = _with_gaps(store)
        batch = _read(store, 0)
        assert batch.records["value"].to_list() == [b"a", b"b"]
        assert batch.records["offset"].to_list() == [0, ends[1]]
        assert batch.spans == {0: Span(0, ends[-1])}

    def test_a_read_may_begin_where_there_is_no_record(self, store: LogStore) -> None:
        ends = _with_gaps(store)
        for start in range(1, ends[1] + 1):
            batch = _read(store, start)
            assert batch.records["value"].to_list() == [b"b"]
            assert batch.spans == {0: Span(start, ends[-1])}

    def test_a_reread_gives_the_records_that_there_are(self, store: LogStore) -> None:
        _, first, _, last = _with_gaps(store)
        for span, values in {
            Span(0, last): [b"a", b"b"],
            Span(0, 1): [b"a"],
            Span(1, first): [],
            Span(1, first + 1): [b"b"],
            Span(first + 1, last): [],
        }.items():
            batch = store.log().reread({0: span})
            assert batch.spans == {0: span}
            assert batch.records["value"].to_list() == values


def _with_gaps(store: LogStore) -> list[int]:
    """Write a, a gap, b, a gap; return the log's end after each."""
    ends = []
    for step in (b"a", None, b"b", None):
        if step is None:
            store.skip(0)
        else:
            store.append(0, [step])
        ends.append(store.log().spans()[0].end)
    return ends


def _read(store: LogStore, start: int) -> LogBatch:
    return _read_from(store.log(), {0: start})


def _read_from(log: Log, starts: Mapping[int, int]) -> LogBatch:
    """Read up to the end; one read may give less."""
    whole = log.read(starts, ALL)
    spans, parts = dict(whole.spans), [whole.records]
    while behind := _behind(log, starts, spans):
        more = log.read(behind, ALL)
        if not any(len(span) for span in more.spans.values()):
            break
        for partition, span in more.spans.items():
            assert span.start == behind[partition]
            spans[partition] = Span(starts[partition], span.end)
        parts.append(more.records)
    return LogBatch(spans, pl.concat(parts).sort("partition", maintain_order=True))


def _behind(log: Log, starts: Mapping[int, int], spans: Mapping[int, Span]) -> Mapping[int, int]:
    """Where to read on; empty at the end."""
    places = {p: spans[p].end if p in spans else start for p, start in starts.items()}
    ends = log.spans()
    return places if any(at < ends[p].end for p, at in places.items()) else {}


def _read_all(store: LogStore) -> pl.DataFrame:
    log = store.log()
    return _read_from(log, {p: span.start for p, span in log.spans().items()}).records
