from __future__ import annotations

import threading

import polars as pl
import pytest

import penstock as ps
from penstock import plan, testing
from penstock.errors import Fenced, LogChanged, Refused, Rejected, Unavailable
from penstock.plan import Lane
from penstock.records import Counts, LaneKey, Limits, Progress, Receipt, Span, Step

KEY = LaneKey("p", "log", "t", "t@w")
MANY = Limits(1000, 1 << 20)


class Row(ps.Contract):
    id: str = ps.key()
    n: int


def lane(mode: str = "upsert") -> Lane:
    pipeline = ps.Pipeline("p")
    pipeline.topic("log", Row).sink("t", store="w", mode=mode)  # type: ignore[arg-type]
    return plan.compile(pipeline)[0].lanes[0]


def rows(*given: tuple[str, int | None, int], partition: int = 0) -> pl.DataFrame:
    """Rows of (id, n, offset); n None is a delete."""
    full = [(i, n, partition, o, 0, o, None, n is None) for i, n, o in given]
    return pl.DataFrame(full, schema=plan.row_schema(lane().spec), orient="row")


def values(*given: bytes) -> pl.DataFrame:
    return pl.DataFrame({"value": given}, schema={"value": pl.Binary})


def write(sink: testing.MemorySink, frame: pl.DataFrame, before: Progress, end: int) -> Progress:
    step = Step(before, Progress(end, before.epoch, before.totals + Counts(records=frame.height)))
    return sink.commit([sink.stage(frame)], {0: step})[0]


def test_a_log_keeps_offsets_and_limits() -> None:
    log = testing.MemoryLog(partitions=2)
    assert log.append(values(b"a", b"bb", b"ccc")) == {0: 0}
    assert log.append(values(b"d")) == {0: 3}
    assert log.append(values(b"e").with_columns(partition=pl.lit(1))) == {1: 0}
    assert log.spans() == {0: Span(0, 4), 1: Span(0, 1)}
    whole = log.read({0: 1, 1: 0}, MANY)
    assert whole.spans == {0: Span(1, 4), 1: Span(0, 1)}
    assert whole.records["value"].to_list() == [b"bb", b"ccc", b"d", b"e"]
    assert log.read({0: 0}, Limits(2, 1000)).spans == {0: Span(0, 2)}
    assert log.read({0: 0}, Limits(1000, 3)).spans == {0: Span(0, 2)}
    assert log.read({0: 2}, Limits(1000, 1)).spans == {0: Span(2, 3)}
    assert log.read({0: 4}, MANY).spans == {}
    assert log.reread({0: Span(1, 3)}).records["value"].to_list() == [b"bb", b"ccc"]


def test_a_log_refuses_what_it_does_not_have() -> None:
    log = testing.MemoryLog()
    log.append(values(b"a", b"b"))
    log.drop(0, before=1)
    for starts in ({0: 0}, {0: 3}, {7: 0}):
        with pytest.raises(LogChanged):
            log.read(starts, MANY)
    with pytest.raises(LogChanged):
        log.reread({0: Span(1, 9)})
    with pytest.raises(Refused):
        log.append(values(b"x").with_columns(partition=pl.lit(5)))
    before = log.identity()
    log.recreate()
    assert log.identity() != before
    assert log.spans() == {0: Span(0, 0)}


def test_a_reader_that_waits_is_woken() -> None:
    log = testing.MemoryLog()
    assert not log.wait({0: 0}, 0)
    found: list[bool] = []
    reader = threading.Thread(target=lambda: found.append(log.wait({0: 0}, 30)))
    reader.start()
    log.append(values(b"a"))
    reader.join(30)
    woken = threading.Thread(target=lambda: found.append(log.wait({0: 1}, 30)))
    woken.start()
    log.wake()
    woken.join(30)
    assert found == [True, False]


def test_the_newest_row_of_a_key_stays_and_deletes_are_remembered() -> None:
    sink = testing.MemoryStore().sink(lane(), KEY)
    sink.open()
    start = sink.claim({0: 1})[0]
    first = write(sink, rows(("a", 1, 0), ("a", 2, 1), ("b", 3, 2), ("c", None, 3)), start, 4)
    assert first.totals == Counts(records=4, written=2, superseded=1, deleted=1)
    late = rows(("c", 9, 2), ("a", None, 4), ("b", 0, 1), ("d", 5, 5))
    second = write(sink, late, first, 6)
    assert second.totals == Counts(records=8, written=3, superseded=3, deleted=2)
    assert sink.frame().sort("id").rows() == [("b", 3, 2), ("d", 5, 5)]
    assert second.totals.balanced


def test_an_append_keeps_every_row() -> None:
    sink = testing.MemoryStore().sink(lane("append"), KEY)
    sink.open()
    write(sink, rows(("a", 1, 0), ("a", 2, 1)), sink.claim({0: 1})[0], 2)
    assert sink.frame().rows() == [("a", 1, 0, 0, 0), ("a", 2, 0, 1, 0)]


def test_a_successor_fences_and_sees_only_what_was_committed() -> None:
    store = testing.MemoryStore()
    old, new = store.sink(lane(), KEY), store.sink(lane(), KEY)
    before = old.claim({0: 1})[0]
    receipt = old.stage(rows(("a", 1, 0)))
    assert new.claim({0: 2})[0].next == 0
    step = {0: Step(before, Progress(1, 1))}
    with pytest.raises(Fenced):
        old.commit([receipt], step)
    with pytest.raises(Fenced):
        old.claim({0: 1})
    assert new.frame().is_empty()
    with testing.without("fencing"):
        receipt = old.stage(rows(("a", 1, 0)))
        old.commit([receipt], step)
    assert new.frame().height == 1


def test_receipts_must_count_what_is_staged() -> None:
    sink = testing.MemoryStore().sink(lane(), KEY)
    before = sink.claim({0: 1})[0]
    step = {0: Step(before, Progress(1, 1))}
    sink.stage(rows(("a", 1, 0)))
    with pytest.raises(Refused, match="but its receipts count"):
        sink.commit([Receipt({0: 2})], step)
    assert sink.progress()[0].next == 0
    assert sink.commit([], step)[0].next == 1


def test_a_store_rejects_rows_and_goes_away() -> None:
    store = testing.MemoryStore(refuses=pl.col("n") < 0)
    sink = store.sink(lane(), KEY)
    bad = rows(("a", 1, 0), ("b", -1, 1), ("c", None, 2))
    with pytest.raises(Rejected):
        sink.stage(bad)
    assert [row for row, _ in sink.isolate(bad)] == [1]
    store.away = True
    with pytest.raises(Unavailable):
        sink.progress()


def test_a_clock_moves_only_when_told() -> None:
    clock = testing.ManualClock()
    before = clock.now()
    clock.wait(90)
    clock.advance(-30)
    assert (clock.now() - before).total_seconds() == 60
    assert clock.waited == [90]


def test_a_fault_is_raised_once_and_taken_away() -> None:
    sink = testing.MemoryStore().sink(lane(), KEY)
    with testing.at("copying", raise_=Unavailable("gone"), nth=2):
        sink.stage(rows())
        with pytest.raises(Unavailable):
            sink.stage(rows())
        sink.stage(rows())
    with pytest.raises(ValueError, match="no point 'copy'"), testing.at("copy"):
        pass
