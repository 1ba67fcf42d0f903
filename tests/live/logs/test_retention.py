from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import psycopg
import pytest

from penstock.errors import LogChanged, Refused
from penstock.logs.postgresql import open_topic
from penstock.logs.retention import Tidied, tidy
from penstock.logs.topic import TopicLog
from penstock.pipeline import Retention
from penstock.records import Limits, Span

MANY = Limits(records=100_000, bytes=1 << 30)


class Aging:
    """A topic whose children can be made older."""

    def __init__(self, url: str, retention: Retention | None, partitions: int = 1) -> None:
        self.url = url
        self.log: TopicLog = open_topic(url, "users", partitions, retention)

    def query(self, text: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def append(self, count: int, partition: int = 0, size: int = 10) -> None:
        frame = pl.DataFrame({"value": [b"x" * size] * count})
        self.log.append(frame.with_columns(pl.lit(partition, pl.Int32).alias("partition")))

    def age(self, seconds: float) -> None:
        self.query(
            "UPDATE penstock.log_children SET"
            f" opened_at = opened_at - interval '{seconds} seconds',"
            f" sealed_at = sealed_at - interval '{seconds} seconds'"
        )

    def tidy(self, **holds: int) -> Tidied:
        return tidy(self.url, "topic", "users", {int(p[1:]): hold for p, hold in holds.items()})

    def start(self, partition: int = 0) -> int:
        return self.log.spans()[partition].start


@pytest.fixture
def by_age(database: str) -> Iterator[Aging]:
    aging = Aging(database, Retention(age="80s"))
    yield aging
    aging.log.close()


@pytest.fixture
def by_size(database: str) -> Iterator[Aging]:
    aging = Aging(database, Retention(size="8MB"), 2)
    yield aging
    aging.log.close()


def test_old_records_go_in_whole_children(by_age: Aging) -> None:
    by_age.append(5)
    assert by_age.tidy() == Tidied()  # seen first now
    by_age.age(11)
    by_age.append(2)
    assert by_age.tidy() == Tidied()  # cut off, sealed
    by_age.append(4)
    by_age.tidy()
    by_age.age(79)
    by_age.tidy()
    assert by_age.start() == 0
    by_age.age(2)
    assert by_age.tidy() == Tidied(7, 1)
    assert by_age.log.spans() == {0: Span(7, 11)}
    assert by_age.log.read({0: 7}, MANY).records.height == 4
    with pytest.raises(LogChanged, match="keeps partition 0 from offset 7 on"):
        by_age.log.read({0: 6}, MANY)
    by_age.append(3)
    assert by_age.log.read({0: 7}, MANY).spans == {0: Span(7, 14)}


def test_everything_may_age_out(by_age: Aging) -> None:
    by_age.append(5)
    by_age.tidy()
    by_age.age(11)
    by_age.tidy()
    by_age.age(81)
    assert by_age.tidy() == Tidied(5, 1)
    assert by_age.log.spans() == {0: Span(5, 5)}
    by_age.append(1)
    assert by_age.log.read({0: 5}, MANY).records.height == 1


def test_lanes_hold_back_what_they_have_not_read(by_age: Aging) -> None:
    for _ in range(3):
        by_age.append(5)
        by_age.tidy()
        by_age.age(11)
        by_age.tidy()
    by_age.age(200)
    assert by_age.tidy(p0=4) == Tidied()
    assert by_age.tidy(p0=5) == Tidied(5, 1)
    assert by_age.tidy(p0=14) == Tidied(5, 1)
    assert by_age.log.spans() == {0: Span(10, 15)}
    assert by_age.tidy(p0=15) == Tidied(5, 1)


def test_size_drops_the_oldest_of_all_partitions(by_size: Aging) -> None:
    for n in range(12):
        by_size.append(1000, n % 2, size=1500)
        by_size.tidy()
    assert by_size.query("SELECT sum(pg_total_relation_size(relid)) < 10e6 FROM pg_partition_tree("
                         "'topics.users') WHERE isleaf") == [(True,)]  # fmt: skip
    assert 1000 <= by_size.start(0) <= 5000
    assert 1000 <= by_size.start(1) <= 5000
    spans = by_size.log.spans()
    read = by_size.log.read({p: span.start for p, span in spans.items()}, MANY)
    assert read.spans == spans


def test_size_never_drops_what_is_held(by_size: Aging) -> None:
    for _ in range(12):
        by_size.append(1000, 0, size=1500)
        by_size.tidy(p0=1000)
    assert by_size.start() == 1000


def test_without_retention_all_is_kept_and_room_is_made_ahead(database: str) -> None:
    aging = Aging(database, None)
    aging.append(10)
    assert aging.tidy() == Tidied()
    aging.query("UPDATE penstock.logs SET child_rows = 20")
    aging.query("UPDATE penstock.log_heads SET next = (1 << 20) - 3")
    aging.tidy()
    assert aging.query("SELECT room FROM penstock.log_heads") == [((1 << 20) + 20,)]
    aging.tidy()
    assert aging.query("SELECT count(*) FROM penstock.log_children") == [(2,)]
    aging.log.close()


def test_a_cut_replaces_what_was_made_ahead(by_age: Aging) -> None:
    by_age.query("UPDATE penstock.logs SET child_rows = 1 << 22")
    by_age.append(5)
    by_age.tidy()
    assert by_age.query("SELECT count(*) FROM penstock.log_children") == [(2,)]
    by_age.age(11)
    by_age.tidy()
    assert by_age.query("SELECT lower FROM penstock.log_children ORDER BY 1") == [(0,), (5,)]
    by_age.append(5)
    assert by_age.log.read({0: 0}, MANY).records.height == 10


def test_a_reader_in_the_way_only_delays(by_age: Aging) -> None:
    by_age.append(5)
    by_age.tidy()
    by_age.age(11)
    with psycopg.connect(by_age.url) as reader:
        reader.execute("SELECT * FROM topics.users").fetchall()
        by_age.tidy()
    by_age.append(1)
    by_age.tidy()
    by_age.age(200)
    by_age.tidy()
    assert by_age.start() >= 5


def test_an_unknown_log_is_refused(database: str) -> None:
    with pytest.raises(Refused, match="no topic 'users'"):
        tidy(database, "topic", "users", {})
