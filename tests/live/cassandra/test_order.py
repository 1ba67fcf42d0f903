"""Whatever comes late, twice or in another order: the newest record of a key stays."""

from __future__ import annotations

import random
import time
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.writing import read, write

from penstock.errors import Fenced
from penstock.plan import REPLAY
from penstock.testing.conformance.subjects import deleted, people, rows, steps

PARTITION_ADDED = 5_000_000
LOG_MADE_ANEW = 9_000_000


def history(seed: int, records: int = 3000, keys: int = 200) -> pl.DataFrame:
    """A log with writes and deletes of a few keys, each record with its order stamp."""
    rng = random.Random(seed)
    log = rows(
        people(
            *(
                (rng.randrange(keys), rng.choice((None, f"{n}@x")), rng.choice((None, n)))
                for n in range(records)
            )
        )
    )
    gone = pl.Series([rng.random() < 0.2 for _ in range(records)])
    nothing = [pl.when(~gone).then(pl.col(name)).alias(name) for name in ("email", "age")]
    return log.with_columns(*nothing, _deleted=gone)


def fold(*logs: pl.DataFrame) -> pl.DataFrame:
    """What a table must hold after these logs, in whatever order they came."""
    newest = pl.concat(logs).sort("_order").unique("id", keep="last")
    return newest.filter(~pl.col("_deleted")).select("id", "email", "age", "_order").sort("id")


def test_micro_batches_in_any_order_give_the_same_table(make_sink: MakeSink) -> None:
    log = history(1)
    sink = make_sink()
    sink.open()
    parts = [log[start : start + 250] for start in range(0, log.height, 250)]
    random.Random(2).shuffle(parts)
    for part in parts:
        write(sink, part)
    assert_frame_equal(read(sink), fold(log))


def test_rows_within_a_micro_batch_may_come_in_any_order(make_sink: MakeSink) -> None:
    log = history(3)
    sink = make_sink()
    sink.open()
    stands = write(sink, log.sample(fraction=1, shuffle=True, seed=4))
    assert_frame_equal(read(sink), fold(log))
    newest = log.sort("_order").unique("id", keep="last")
    assert stands.totals.superseded == log.height - newest.height
    assert stands.totals.deleted == newest["_deleted"].sum()


def test_everything_once_more_changes_nothing(make_sink: MakeSink) -> None:
    log = history(5)
    sink = make_sink()
    sink.open()
    write(sink, log)
    before = read(sink)
    write(sink, log)
    write(sink, log[:500])
    assert_frame_equal(read(sink), before)


def test_a_replayed_letter_undoes_nothing_newer(make_sink: MakeSink) -> None:
    sink = make_sink()
    sink.open()
    write(sink, rows(people((1, "new@x", 1), (2, "new@x", 2)), start=100))
    fixed = rows(people((1, "fixed@x", 0), (3, "fixed@x", 3)), start=7)
    before = sink.claim({REPLAY: 1})
    sink.commit([sink.stage(fixed)], steps(before, {REPLAY: 2}))
    names = read(sink).select("id", "email").rows()
    assert names == [(1, "new@x"), (2, "new@x"), (3, "fixed@x")]


def test_a_replayed_letter_brings_no_deleted_row_back(make_sink: MakeSink) -> None:
    sink = make_sink()
    sink.open()
    write(sink, deleted(rows(people((1, None, None)), start=100), 1))
    before = sink.claim({REPLAY: 1})
    sink.commit([sink.stage(rows(people((1, "fixed@x", 0))))], steps(before, {REPLAY: 1}))
    assert read(sink).is_empty()


def test_a_log_made_anew_and_an_added_partition_come_after_all_before(make_sink: MakeSink) -> None:
    first, second, third = history(6), history(7, 600), history(8, 600)
    second = second.with_columns(pl.col("_order") + PARTITION_ADDED)
    third = third.with_columns(pl.col("_order") + LOG_MADE_ANEW)
    sink = make_sink()
    sink.open()
    for log in (third, first, second, first[1000:2000]):
        write(sink, log)
    assert_frame_equal(read(sink), fold(first, second, third))


def test_a_null_removes_what_an_older_row_had(make_sink: MakeSink) -> None:
    sink = make_sink()
    sink.open()
    write(sink, rows(people((1, "a@x", 1)), start=5))
    write(sink, rows(people((1, None, 2)), start=6))
    write(sink, rows(people((1, "late@x", 9)), start=2))
    assert read(sink).select("id", "email", "age").rows() == [(1, None, 2)]


def test_an_owner_that_was_taken_over_does_no_harm(make_sink: MakeSink) -> None:
    log = history(9, 1000)
    old, new = make_sink(), make_sink()
    old.open()
    before = old.claim({0: 1})
    receipt = old.stage(log[:400])
    new.open()
    write(new, log, epoch=2)
    with pytest.raises(Fenced):
        old.commit([receipt], steps(before, {0: 400}))
    assert_frame_equal(read(new), fold(log))


def test_a_row_expires_and_a_rerun_only_renews_it(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink(ttl="1h")
    sink.open()
    batch = rows(people((1, "a@x", None)))
    write(sink, batch)
    write(sink, batch)
    columns = 'TTL(email) AS left, WRITETIME(email) AS stamp, "_order" AS o'
    query = f"SELECT {columns} FROM {keyspace}.people"
    row = cql.execute(query).one()
    assert 3000 < row.left <= 3600
    assert row.stamp == row.o == batch["_order"][0]


def test_a_row_that_expired_stays_gone(make_sink: MakeSink) -> None:
    sink = make_sink(ttl="1s")
    sink.open()
    write(sink, rows(people((1, "a@x", 1)), start=5))
    deadline = time.monotonic() + 60
    while not read(sink).is_empty() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert read(sink).is_empty()
