"""The table: made from contract and settings, changed additively, refused where it cannot be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from typing import Any

import polars as pl
import pytest
from tests.live.cassandra.conftest import MakeSink
from tests.live.cassandra.writing import read, write

from penstock import contract as ps
from penstock.errors import ProfileError, Refused, Unavailable
from penstock.sinks.cassandra import CassandraSink
from penstock.sinks.cassandra.session import Session
from penstock.testing.conformance.subjects import Everything, everything, people, rows


class Visit(ps.Contract):
    id: int = ps.key()
    day: date = ps.key()
    hour: int = ps.key()
    select: str
    größe: float | None


class Longer(ps.Contract):
    id: int = ps.key()
    email: str | None
    age: int | None
    town: str | None


class Stricter(ps.Contract):
    id: int = ps.key()
    email: str | None
    age: int | None
    town: str


class Retyped(ps.Contract):
    id: int = ps.key()
    email: str | None
    age: str | None


class Rekeyed(ps.Contract):
    id: int = ps.key()
    email: str = ps.key()
    age: int | None


class Everywhere(ps.Contract):
    id: str = ps.key()


def test_a_foreign_client_reads_what_was_written(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink(Everything, "things")
    sink.open()
    sent = everything()
    write(sink, rows(sent))
    found = {str(row.id): row for row in cql.execute(f"SELECT * FROM {keyspace}.things")}
    assert len(found) == sent.height
    for row in sent.iter_rows(named=True):
        there = found[row["id"]]
        assert (there.name, there.code, there.count) == (row["name"], row["code"], row["count"])
        assert (there.ratio, there.good, there.price) == (row["ratio"], row["good"], row["price"])
        assert (str(there.day), there.raw) == (row["day"].isoformat().zfill(10), row["raw"])
        assert there.at == row["at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def test_clustering_columns_sort_the_rows_of_a_partition(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink(Visit, "visits", clustering=["day", "hour"])
    sink.open()
    days = [date(2026, 1, 3), date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 1)]
    frame = pl.DataFrame(
        {
            "id": [1] * 4,
            "day": days,
            "hour": [0, 5, 0, -3],
            "select": ["x"] * 4,
            "größe": [None] * 4,
        },
        schema=ps.spec(Visit).polars,
    )
    write(sink, rows(frame))
    query = f'SELECT "day", hour FROM {keyspace}.visits WHERE id = 1'
    found = [(str(row.day), row.hour) for row in cql.execute(query)]
    assert found == [("2026-01-01", -3), ("2026-01-01", 5), ("2026-01-02", 0), ("2026-01-03", 0)]
    assert read(sink).drop("_order").sort("day", "hour").equals(frame.sort("day", "hour"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clustering": ["age"]}, "not in the key"),
        ({"clustering": ["id"]}, "at least one column"),
        ({"clustering": "id"}, "a list of columns"),
        ({"ttl": "soon"}, "ttl"),
        ({"ttl": "30000d"}, "20 years"),
        ({"tll": "3d"}, "no setting 'tll'"),
    ],
)
def test_wrong_settings_are_refused(
    make_sink: MakeSink, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProfileError, match=words):
        make_sink(**settings)


def test_nullable_columns_are_added(make_sink: MakeSink) -> None:
    first = make_sink()
    first.open()
    write(first, rows(people((1, "a@x", 1))))
    longer = make_sink(Longer)
    assert [words for words in longer.preview() if "'town' text" in words]
    longer.open()
    assert list(longer.preview()) == []
    write(longer, rows(people((2, "b@x", 2)).with_columns(town=pl.lit("Lyon")), start=1))
    assert read(longer)["town"].to_list() == [None, "Lyon"]


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (Stricter, "column 'town' text is missing"),
        (Retyped, "column 'age' is bigint, not text"),
        (Rekeyed, "primary key is"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    make_sink: MakeSink, contract: type[ps.Contract], words: str
) -> None:
    make_sink().open()
    with pytest.raises(Refused, match=words):
        make_sink(contract).preview()
    with pytest.raises(Refused, match=words):
        make_sink(contract).open()


def test_a_table_with_stamps_of_its_own_is_refused(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    make_sink(table="other").open()
    cql.execute(f"CREATE TABLE {keyspace}.people (id bigint PRIMARY KEY, email text, age bigint)")
    with pytest.raises(Refused, match="no column '_order'"):
        make_sink().open()


def test_a_column_that_was_dropped_once_is_not_added_again(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    make_sink(Longer).open()
    cql.execute(f"ALTER TABLE {keyspace}.people DROP town")
    with pytest.raises(Refused, match="dropped once"):
        make_sink(Longer).open()


def test_a_table_that_is_gone_is_not_made_again(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink()
    sink.open()
    write(sink, rows(people((1, None, 1))))
    cql.execute(f"DROP TABLE {keyspace}.people")
    with pytest.raises(Refused, match="is gone"):
        make_sink().open()


@pytest.mark.parametrize("anew", [False, True])
def test_a_table_dropped_meanwhile_is_noticed(
    make_sink: MakeSink, keyspace: str, cql: Any, anew: bool
) -> None:
    sink = make_sink()
    sink.open()
    write(sink, rows(people((1, None, 1))))
    cql.execute(f"DROP TABLE {keyspace}.people")
    if anew:
        cql.execute(
            f"CREATE TABLE {keyspace}.people (id bigint PRIMARY KEY, email text, age bigint, "
            '"_order" bigint)'
        )
    with pytest.raises(Refused, match="was dropped"):
        write(sink, rows(people((2, None, 1)), start=1))


def test_a_column_dropped_meanwhile_makes_no_dead_letters(
    make_sink: MakeSink, keyspace: str, cql: Any
) -> None:
    sink = make_sink()
    sink.open()
    write(sink, rows(people((1, None, 1))))
    cql.execute(f"ALTER TABLE {keyspace}.people DROP age")
    with pytest.raises(Refused, match="column 'age' was dropped"):
        write(sink, rows(people((2, None, 1)), start=1))


def test_a_lane_that_appends_is_refused_with_the_cure(make_sink: MakeSink) -> None:
    with pytest.raises(Refused, match=r"ps\.key\(\)"):
        make_sink(mode="append").preview()


def test_one_node_holds_one_copy(
    make_sink: MakeSink, cassandra: str, keyspace: str, cql: Any
) -> None:
    make_sink(url=f"{cassandra}/{keyspace}").open()
    assert replication(cql, keyspace)["datacenter1"] == "1"


def test_on_several_nodes_no_keyspace_is_made_without_a_replication(
    make_sink: MakeSink, cassandra: str, keyspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "nodes", 2)
    sink = make_sink(url=f"{cassandra}/{keyspace}")
    with pytest.raises(Refused, match=f'CREATE KEYSPACE IF NOT EXISTS "{keyspace}" WITH'):
        sink.open()


def test_a_replication_that_cannot_be_is_refused_with_the_cql(
    make_sink: MakeSink, cassandra: str, keyspace: str
) -> None:
    sink = make_sink(url=f"{cassandra}/{keyspace}?replication=nowhere:3")
    with pytest.raises(Refused, match=r"(?s)nowhere.*CREATE KEYSPACE"):
        sink.open()


def test_replication_by_datacenter(
    make_sink: MakeSink, cassandra: str, keyspace: str, cql: Any
) -> None:
    sink = make_sink(url=f"{cassandra}/{keyspace}?replication=datacenter1:1&datacenter=datacenter1")
    sink.open()
    assert replication(cql, keyspace)["datacenter1"] == "1"


def test_a_datacenter_that_there_is_not_is_named(
    make_sink: MakeSink, cassandra: str, keyspace: str
) -> None:
    sink = make_sink(url=f"{cassandra}/{keyspace}?replication=1&datacenter=mars")
    with pytest.raises(Refused, match="no datacenter 'mars'; it has datacenter1"):
        sink.open()


def test_a_table_of_its_key_alone(make_sink: MakeSink) -> None:
    sink = make_sink(Everywhere, "alone")
    sink.open()
    write(sink, rows(pl.DataFrame({"id": ["a", "b"]})))
    assert read(sink)["id"].to_list() == ["a", "b"]


def test_lanes_that_begin_together_in_a_new_keyspace(make_sink: MakeSink) -> None:
    """The table of who writes what is there for one lane, and not yet for the next."""
    sinks = [make_sink(table=f"people{n}") for n in range(5)]
    make_sink(table="before").open()
    session = sinks[0]._dial()
    session.change(f"DROP TABLE {sinks[0]._table.keyspace}.penstock_tables")
    with ThreadPoolExecutor(len(sinks)) as threads:
        for opened in [threads.submit(until_there, sink) for sink in sinks]:
            opened.result()


def until_there(sink: CassandraSink) -> None:
    """Open as a run does: again while Cassandra does not answer."""
    for _ in range(20):
        with suppress(Unavailable):
            sink.open()
            return
    sink.open()


def replication(cql: Any, keyspace: str) -> dict[str, str]:
    query = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = %s"
    return dict(cql.execute(query, [keyspace]).one().replication)
