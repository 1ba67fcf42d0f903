"""Rows that are large, and rows that are too large for the server."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from cassandra.query import Statement
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.writing import read, write

from penstock import contract as ps
from penstock.errors import Rejected
from penstock.sinks.cassandra.limits import LONGEST_KEY
from penstock.sinks.cassandra.session import Owners, Session
from penstock.testing.conformance.subjects import rows

MIB = 1 << 20


class Page(ps.Contract):
    id: str = ps.key()
    text: str | None


class Note(ps.Contract):
    id: str = ps.key()
    at: str = ps.key()
    by: str = ps.key()


Wide = type(
    "Wide",
    (ps.Contract,),
    {"__annotations__": {"id": int} | {f"c{n}": int | None for n in range(60)}, "id": ps.key()},
)


def pages(*sizes: int) -> pl.DataFrame:
    texts = ["x" * size for size in sizes]
    return pl.DataFrame({"id": [f"{n:06}" for n in range(len(sizes))], "text": texts})


def test_large_rows_go_alone(make_sink: MakeSink) -> None:
    sink = make_sink(Page)
    sink.open()
    sent = pages(10, 60_000, 20, 51_200, 700_000, 30, 3 * MIB, 40, 49_000)
    write(sink, rows(sent))
    assert read(sink).drop("_order").equals(sent)


def test_many_small_rows_and_many_wide_rows(make_sink: MakeSink) -> None:
    small, wide = make_sink(Page, "small"), make_sink(Wide, "wide")
    small.open()
    wide.open()
    write(small, rows(pages(*[1] * 2000)))
    columns = {"id": range(500)} | {f"c{n}": [n, None] * 250 for n in range(60)}
    sent = pl.DataFrame(columns, schema=ps.spec(Wide).polars)
    write(wide, rows(sent))
    assert read(small).height == 2000
    assert read(wide).drop("_order").equals(sent)


def test_a_batch_that_the_server_finds_too_large_is_cut(
    make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.sinks.cassandra.limits.CELL", -1000)
    monkeypatch.setattr("penstock.sinks.cassandra.batches.CELL", -1000)
    sink = make_sink(Page)
    sink.open()
    write(sink, rows(pages(*[2000] * 300)))
    assert read(sink).height == 300


def test_rows_go_to_the_nodes_that_own_them(
    make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = set()
    owners, start = Session.owners, Session.start

    def several(session: Session) -> Owners:
        found = owners(session)
        found.several = True  # as in a larger cluster
        return found

    def started(session: Session, statement: Statement, host: object = None) -> object:
        hosts.add(host)
        return start(session, statement, host)

    monkeypatch.setattr(Session, "owners", several)
    monkeypatch.setattr(Session, "start", started)
    sink = make_sink(Page)
    sink.open()
    write(sink, rows(pages(*[30] * 3000)))
    assert len(hosts) == 1
    assert None not in hosts
    assert read(sink).height == 3000


@pytest.mark.parametrize("short", [0, 200, 400, 1000])
def test_at_the_server_s_largest_row_nothing_is_lost(make_sink: MakeSink, short: int) -> None:
    sink = make_sink(Page)
    sink.open()
    batch = rows(pages(16 * MIB - short, 5))
    try:
        write(sink, batch)
        taken = 2
    except Rejected:
        guilty = [number for number, _ in sink.isolate(batch)]
        assert guilty == [0]
        write(sink, batch[1:])
        taken = 1
    assert read(sink).height == taken


def test_rejected_rows_are_found_before_anything_is_written(make_sink: MakeSink) -> None:
    sink = make_sink(Page)
    sink.open()
    sent = pages(*[10] * 40)
    bad = {0: "", 7: "k" * (LONGEST_KEY + 1), 8: "é" * 40_000, 36: ""}
    ids = [bad.get(n, name) for n, name in enumerate(sent["id"])]
    batch = rows(sent.with_columns(id=pl.Series(ids)))
    with pytest.raises(Rejected):
        write(sink, batch)
    assert read(sink).is_empty()
    assert [number for number, _ in sink.isolate(batch)] == [0, 7, 8, 36]
    assert read(sink).is_empty()
    left = batch.with_row_index("n").filter(~pl.col("n").is_in(list(bad))).drop("n")
    assert write(sink, left).totals.written == 36


def test_a_key_as_long_as_may_be_is_taken(make_sink: MakeSink) -> None:
    sink = make_sink(Page)
    sink.open()
    longest = pl.DataFrame({"id": ["k" * LONGEST_KEY], "text": [None]}, schema=ps.spec(Page).polars)
    write(sink, rows(longest))
    assert read(sink).height == 1


def note(id: int, at: int, by: int) -> dict[str, str]:
    return {"id": "i" * id, "at": "a" * at, "by": "b" * by}


def test_long_composite_keys(make_sink: MakeSink) -> None:
    sink = make_sink(Note, clustering=["by"])
    sink.open()
    half = LONGEST_KEY // 2
    fits = [note(half, half - 5, 9), note(0, 0, 0), note(1, 1, LONGEST_KEY)]
    wrong = [note(half, half - 4, 9), note(1, 1, LONGEST_KEY + 1)]
    batch = rows(pl.DataFrame([*fits, *wrong]))
    assert [number for number, _ in sink.isolate(batch)] == [3, 4]
    write(sink, batch[:3])
    assert read(sink).height == 3


def test_what_only_the_server_refuses_is_found_by_trying(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink(Page)
    sink.open()
    cql.execute(f"CREATE INDEX ON {keyspace}.people (text)")
    sent = pages(*(LONGEST_KEY + 1 if n in (3, 20) else 10 for n in range(30)))
    batch = rows(sent)
    with pytest.raises(Rejected, match=r"(?i)index"):
        write(sink, batch)
    assert [number for number, _ in sink.isolate(batch)] == [3, 20]
    left = batch.filter(~pl.col("_offset").is_in([3, 20]))
    assert write(sink, left).totals.written == 28
    assert read(sink).height == 28
