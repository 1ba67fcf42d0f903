from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import polars as pl
import psycopg
import pytest
from psycopg import sql

from penstock.errors import LogChanged, Refused, Unavailable
from penstock.logs.columns import RECORDS
from penstock.logs.postgresql import open_landing, open_topic
from penstock.logs.topic import TopicLog
from penstock.records import LOG_COLUMNS, Limits, Span

MANY = Limits(records=100_000, bytes=1 << 30)

Opener = Callable[..., TopicLog]


@pytest.fixture
def opened(database: str) -> Iterator[Opener]:
    logs = []

    def opener(name: str = "users", partitions: int | None = None) -> TopicLog:
        logs.append(open_topic(database, name, partitions))
        return logs[-1]

    yield opener
    for log in logs:
        log.close()


def values(count: int, start: int = 0, **columns: object) -> pl.DataFrame:
    numbers = [str(n).encode() for n in range(start, start + count)]
    return pl.DataFrame({"value": numbers}).with_columns(
        **{name: pl.lit(column) for name, column in columns.items()}
    )


def query(url: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def test_records_come_back_as_they_went_in(opened: Opener) -> None:
    log = opened()
    born = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    sent = pl.DataFrame(
        {
            "key": [b"a", b"", None, b"\x00\xff", b"a"],
            "value": [b"{}", b"", b"\x00", None, "ünï".encode()],
            "headers": [b'[["h", "dg=="]]', None, None, None, None],
            "born": [born, None, born, born, born],
        },
    )
    assert log.append(sent) == {0: 0}
    read = log.read({0: 0}, MANY)
    assert read.spans == {0: Span(0, 5)}
    assert read.records.columns == list(LOG_COLUMNS)
    assert read.records.schema == RECORDS
    assert read.records["offset"].to_list() == list(range(5))
    for name in ("key", "value", "headers", "born"):
        assert read.records[name].to_list() == sent[name].to_list(), name


def test_an_empty_append_changes_nothing(opened: Opener) -> None:
    log = opened()
    assert log.append(values(0)) == {}
    assert log.spans() == {0: Span(0, 0)}
    assert log.read({0: 0}, MANY).spans == {}


def test_keys_decide_the_partition_and_order_stays(opened: Opener) -> None:
    log = opened(partitions=4)
    keys = [str(n % 50).encode() for n in range(1000)]
    log.append(values(1000).with_columns(key=pl.Series(keys)))
    records = log.read(dict.fromkeys(range(4), 0), MANY).records
    assert records.height == 1000
    assert records.group_by("key").agg(pl.col("partition").n_unique())["partition"].max() == 1
    for (_,), part in records.group_by("key"):
        numbers = [int(value) for value in part.sort("offset")["value"]]
        assert numbers == sorted(numbers)


def test_reads_are_bounded_by_records_and_bytes(opened: Opener) -> None:
    log = opened()
    log.append(values(100))
    assert log.read({0: 10}, Limits(7, 1 << 20)).spans == {0: Span(10, 17)}
    log.append(pl.DataFrame({"value": [b"x" * 1000] * 50 + [b"y" * 100_000] + [b"z"] * 50}))
    assert log.read({0: 100}, Limits(1000, 10_000)).spans == {0: Span(100, 110)}
    assert log.read({0: 149}, Limits(1000, 10_000)).spans == {0: Span(149, 150)}
    assert log.read({0: 150}, Limits(1000, 10_000)).spans == {0: Span(150, 151)}
    assert log.read({0: 151}, Limits(1000, 10_000)).spans == {0: Span(151, 201)}


def test_partitions_share_a_read(opened: Opener) -> None:
    log = opened(partitions=3)
    for partition, count in ((0, 10), (1, 1000), (2, 1000)):
        log.append(values(count, partition=partition).cast({"partition": pl.Int32}))
    spans = log.read({0: 0, 1: 0, 2: 0}, Limits(300, 1 << 20)).spans
    assert spans[0] == Span(0, 10)
    assert len(spans[1]) + len(spans[2]) == 290
    assert abs(len(spans[1]) - len(spans[2])) <= 1
    assert set(log.read({2: 0}, Limits(5, 1 << 20)).spans) == {2}


def test_reread_gives_exactly_the_span(opened: Opener) -> None:
    log = opened(partitions=2)
    log.append(values(100).with_columns(key=pl.col("value")))
    spans = {0: Span(5, 9), 1: Span(3, 3)}
    batch = log.reread(spans)
    assert batch.spans == spans
    assert batch.records["offset"].to_list() == [5, 6, 7, 8]
    assert log.reread(spans).records.equals(batch.records)


def test_a_log_that_changed_is_never_misread(opened: Opener, database: str) -> None:
    log = opened()
    log.append(values(10))
    with pytest.raises(LogChanged, match=r"ends at offset 10 .* next one to read is 11"):
        log.read({0: 11}, MANY)
    with pytest.raises(LogChanged, match="no partition 7"):
        log.read({7: 0}, MANY)
    query(database, 'DELETE FROM topics.users WHERE "offset" = 4')
    with pytest.raises(LogChanged, match="holds 9 of the 10 records"):
        log.read({0: 0}, MANY)
    with pytest.raises(LogChanged, match="holds 0 of the 2"):
        log.reread({0: Span(12, 14)})
    query(database, "UPDATE penstock.log_heads SET start = 6")
    with pytest.raises(LogChanged, match="from offset 6 on"):
        log.read({0: 5}, MANY)
    assert log.read({0: 6}, MANY).spans == {0: Span(6, 10)}


def test_a_re_created_log_has_another_identity(opened: Opener, database: str) -> None:
    log = opened()
    log.append(values(10))
    assert opened().identity() == log.identity()
    query(database, "DROP TABLE topics.users CASCADE")
    again = opened()
    assert again.identity() != log.identity()
    assert again.spans() == {0: Span(0, 0)}
    with pytest.raises(LogChanged, match="was removed"):
        log.read({0: 0}, MANY)


def test_partitions_grow_and_never_shrink(opened: Opener) -> None:
    log = opened(partitions=2)
    assert set(opened(partitions=3).spans()) == {0, 1, 2}
    assert set(log.spans()) == {0, 1, 2}
    assert set(opened().spans()) == {0, 1, 2}
    with pytest.raises(Refused, match="cannot shrink to 2"):
        opened(partitions=2)


def test_an_unknown_partition_is_refused(opened: Opener) -> None:
    log = opened()
    with pytest.raises(Refused, match="has no partition 5"):
        log.append(values(1, partition=5).cast({"partition": pl.Int32}))
    assert log.spans() == {0: Span(0, 0)}


HOSTILE = [
    'quo"te', "sp ace", "per%cent%s", "bra{ces}", "ünïcødé", "back\\slash", "it's", "select",
    "x" * 63, "é" * 31, "users_json", "a;DROP SCHEMA topics CASCADE", "-- ", "tab\t", "new\nline",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_will_do(opened: Opener, database: str, name: str) -> None:
    log = opened(name, 2)
    log.append(values(3).with_columns(key=pl.col("value")))
    assert log.read({0: 0, 1: 0}, MANY).records.height == 3
    assert log.name == name
    assert opened(name).identity() == log.identity()
    with psycopg.connect(database) as connection:
        table = sql.Identifier("topics", name)
        count = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
        view = connection.execute("SELECT view FROM penstock.logs").fetchone()
        assert count == (3,)
        assert view
        assert len(view[0].encode()) <= 63
        table = sql.Identifier("topics", view[0])
        rows = connection.execute(sql.SQL("SELECT key, value FROM {}").format(table)).fetchall()
        assert sorted(rows) == [("0", 0), ("1", 1), ("2", 2)]


def test_long_names_that_begin_alike_stay_apart(opened: Opener) -> None:
    names = ["y" * 62 + end for end in "abc"]
    identities = {opened(name).identity() for name in names}
    assert len(identities) == 3


@pytest.mark.parametrize("name", ["z" * 64, "é" * 32])
def test_a_name_beyond_the_limit_is_refused(opened: Opener, name: str) -> None:
    with pytest.raises(Refused, match="64 bytes, PostgreSQL keeps 63"):
        opened(name)


@pytest.mark.parametrize("order", [("users", "users_json"), ("users_json", "users")])
def test_a_log_named_like_a_view_gets_its_name(
    opened: Opener, database: str, order: tuple[str, str]
) -> None:
    for name in order:
        opened(name).append(values(1))
    for name in order:
        assert opened(name).read({0: 0}, MANY).records.height == 1
    views = query(database, "SELECT view FROM penstock.logs ORDER BY name")
    assert len(set(views)) == 2
    for (view,) in views:
        assert query(database, f'SELECT value FROM topics."{view}"') == [(0,)]


def test_a_landing_and_a_topic_of_one_name_are_two(opened: Opener, database: str) -> None:
    landing = open_landing(database, "p", "users")
    assert landing.identity() != opened("users").identity()
    landing.close()


def test_children_are_made_ahead_and_read_across(opened: Opener, database: str) -> None:
    log = opened()
    query(database, "UPDATE penstock.logs SET child_rows = 100")
    query(database, "UPDATE penstock.log_heads SET room = 100")
    query(database, "DROP TABLE penstock.log_1_0_0; DELETE FROM penstock.log_children")
    query(database, "SELECT penstock.log_add_child(1, 0, 0, 100)")
    for start in range(0, 1000, 70):
        log.append(values(70, start))
    assert query(database, "SELECT count(*) FROM penstock.log_children") == [(11,)]
    records = log.read({0: 0}, MANY).records
    assert [int(value) for value in records["value"]] == list(range(1050))
    log.append(values(5000, 1050))
    assert log.read({0: 1000}, MANY).spans == {0: Span(1000, 6050)}


def test_a_reader_is_woken_at_once(opened: Opener) -> None:
    reader, writer = opened(), opened()
    delays = []
    for _ in range(5):
        end = reader.spans()[0].end
        woken = threading.Event()
        thread = threading.Thread(
            target=lambda end=end, w=woken: reader.wait({0: end}, 10) and w.set()
        )
        thread.start()
        assert not woken.wait(0.05)
        writer.append(values(1))
        began = time.perf_counter()
        assert woken.wait(5)
        delays.append(time.perf_counter() - began)
        thread.join()
    assert sorted(delays)[2] < 0.05


def test_wait_returns_at_once_when_there_is_more(opened: Opener) -> None:
    log = opened()
    log.append(values(3))
    assert log.wait({0: 2}, 10)
    assert not log.wait({0: 3}, 0.01)


def test_wake_ends_a_wait(opened: Opener) -> None:
    log = opened()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(log.wait({0: 0}, 30)))
    thread.start()
    log.wake()
    thread.join(10)
    assert answers == [False]


def test_a_lost_connection_is_made_anew(opened: Opener, database: str) -> None:
    log = opened()
    log.append(values(1))
    log.read({0: 0}, MANY)
    assert not log.wait({0: 1}, 0)
    query(
        database,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'penstock:%'",
    )
    for action in (log.spans, lambda: log.wait({0: 1}, 10), lambda: log.read({0: 0}, MANY)):
        with pytest.raises(Unavailable):
            action()
    assert not log.wait({0: 1}, 0)
    assert log.read({0: 0}, MANY).records.height == 1


def test_people_read_topics_as_json(opened: Opener, database: str) -> None:
    log = opened()
    bad = [b"\xff", b'{"a": "\\u0000"}', b"", b"{", b"[" * 100_000, None, b'{"a": 1}']
    log.append(
        pl.DataFrame({"value": bad, "key": [b"k\x00", None, b"\xff", b"", b"e", b"f", b"g"]})
    )
    rows = query(database, "SELECT key, value, deleted FROM topics.users_json ORDER BY 1")
    assert len(rows) == 7
    assert ("g", {"a": 1}, False) in rows
    assert ("f", None, True) in rows
    assert sum(value is not None for _, value, _ in rows) == 1
