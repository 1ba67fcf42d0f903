"""What two runs left is compared by what it means, and each difference is found once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import pytest

from penstock.engines.trials import comparing
from penstock.engines.trials.comparing import Difference, Matched, Sameness
from penstock.engines.trials.remains import APPENDED, LETTERS, TOPIC, UPSERTED
from penstock.records import Counts

BORN = datetime(2026, 1, 1, tzinfo=UTC)
ANYHOW = Sameness(ordered=False)


def topic(*records: tuple[int, int, str | None, int | None]) -> pl.DataFrame:
    """Records as partition, offset, key and number."""
    rows = [
        (p, at, key and key.encode(), None if n is None else b'{"n":%d}' % n, None, BORN)
        for p, at, key, n in records
    ]
    return pl.DataFrame(rows, schema=TOPIC, orient="row")


def matched(first: pl.DataFrame, second: pl.DataFrame, allowed: Sameness | None = None) -> Matched:
    return comparing.topics("t@log", first, second, allowed or Sameness())


def kinds(differences: Sequence[Difference]) -> list[str]:
    return [one.kind for one in differences]


def origins(**partitions: int) -> Sameness:
    found = {"key": [k.encode() for k in partitions], "origins": [*partitions.values()]}
    schema = {"key": pl.Binary, "origins": pl.UInt32}
    return Sameness(ordered=False, origins=pl.DataFrame(found, schema=schema))


# --- topics --------------------------------------------------------------------------------------


def test_offsets_with_gaps_are_the_same_records() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "b", 2), (1, 0, "c", 3))
    second = topic((0, 2, "a", 1), (0, 7, "b", 2), (1, 4, "c", 3))
    found = matched(first, second)
    assert found.differences == []
    assert sorted(found.places.rows()) == [(0, 2, 0, 0), (0, 7, 0, 1), (1, 4, 1, 0)]


def test_a_lost_a_gained_and_a_doubled_record_are_found() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "b", 2))
    lost = matched(first, first.head(1)).differences
    assert [(one.where, one.second) for one in lost] == [("partition 0, key b", "")]
    doubled = topic((0, 0, "a", 1), (0, 1, "a", 1), (0, 2, "b", 2))
    gained = matched(first, doubled).differences
    assert [(one.where, one.first) for one in gained] == [("partition 0, key a", "")]


def test_another_value_is_one_difference_and_keeps_its_place() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "b", 2))
    found = matched(first, topic((0, 3, "a", 1), (0, 5, "b", 9)))
    [one] = found.differences
    assert (json.loads(one.first), json.loads(one.second)) == ({"n": 2}, {"n": 9})
    assert sorted(found.places.rows()) == [(0, 3, 0, 0), (0, 5, 0, 1)]


def test_a_delete_is_no_value() -> None:
    [one] = matched(topic((0, 0, "a", 1)), topic((0, 0, "a", None))).differences
    assert (one.first, one.second) == ('{"n": 1}', "(a delete)")


def test_another_time_of_birth_and_other_headers_are_found() -> None:
    first = topic((0, 0, "a", 1))
    later = first.with_columns(born=BORN.replace(year=2027))
    headed = first.with_columns(headers=pl.lit(b'[["a", null]]'))
    assert kinds(matched(first, later).differences) == ["record"]
    assert kinds(matched(first, headed).differences) == ["record"]


def test_another_partition_is_found_where_it_must_be_the_same() -> None:
    first, second = topic((0, 0, None, 1)), topic((1, 0, None, 1))
    assert kinds(matched(first, second).differences) == ["record", "record"]
    found = matched(first, second, Sameness(ordered=False, placed=False))
    assert found.differences == []
    assert found.places.rows() == [(1, 0, 0, 0)]


def test_the_order_within_a_partition_counts() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "b", 2))
    turned = topic((0, 0, "b", 2), (0, 1, "a", 1))
    assert kinds(matched(first, turned).differences) == ["order"]
    assert matched(first, turned, ANYHOW).differences == []


def test_equal_records_have_no_order() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "a", 1), (0, 2, "b", 2))
    assert matched(first, topic((0, 4, "a", 1), (0, 8, "a", 1), (0, 9, "b", 2))).differences == []


def test_the_order_of_a_key_counts_if_it_comes_from_one_partition() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "a", 2))
    turned = topic((0, 0, "a", 2), (0, 1, "a", 1))
    assert kinds(matched(first, turned, origins(a=1)).differences) == ["order"]
    for allowed in (origins(a=2), origins(other=1)):
        found = matched(first, turned, allowed)
        assert found.differences == []
        assert found.racing.to_list() == [b"a"]


def test_nothing_races_where_the_order_is_the_same() -> None:
    first = topic((0, 0, "a", 1), (0, 1, "b", 5), (0, 2, "a", 2))
    found = matched(first, topic((0, 0, "b", 5), (0, 1, "a", 1), (0, 2, "a", 2)), origins(a=2))
    assert found.racing.to_list() == []


def test_empty_topics_are_the_same() -> None:
    assert matched(topic(), topic()).differences == []


# --- tables --------------------------------------------------------------------------------------


def appended(*rows: tuple[int, int, int, bytes]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=APPENDED, orient="row")


def upserted(**rows: bytes) -> pl.DataFrame:
    given = [(key.encode(), value) for key, value in rows.items()]
    return pl.DataFrame(given, schema=UPSERTED, orient="row")


def test_rows_are_compared_by_the_positions_of_what_they_were_made_of() -> None:
    places = matched(topic((0, 0, "a", 1)), topic((0, 5, "a", 1))).places
    second = comparing.moved(appended((0, 5, 0, b"{}"), (0, 5, 1, b"{}")), places)
    first = appended((0, 0, 0, b"{}"), (0, 0, 1, b"{}"))
    assert list(comparing.tables("t", first, second)) == []
    assert comparing.moved(second, None) is second


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (upserted(a=b'{"n":1,"m":0}'), ("key b", '{"n": 2}', "")),
        (upserted(a=b'{"n":1,"m":0}', b=b'{"n":3}'), ("key b", '{"n": 2}', '{"n": 3}')),
        (upserted(a=b'{"n":1,"m":5}', b=b'{"n":2}'), ("key a", '{"m": 0}', '{"m": 5}')),
        (upserted(a=b'{"n":1,"m":0}', b=b'{"n":2}', c=b"{}"), ("key c", "", "{}")),
    ],
)
def test_a_row_that_is_not_the_same_is_shown(
    second: pl.DataFrame, words: tuple[str, str, str]
) -> None:
    first = upserted(a=b'{"n":1,"m":0}', b=b'{"n":2}')
    [one] = comparing.tables("t", first, second)
    assert (one.where, one.first, one.second) == words


def test_a_row_that_is_there_twice_is_found() -> None:
    first = appended((0, 0, 0, b"{}"))
    [one] = comparing.tables("t", first, pl.concat([first, first]))
    assert (one.where, one.first, one.second) == ("position 0:0:0", "", "{}")


# --- dead letters and counts ---------------------------------------------------------------------


def letter(offset: int, rule: str = "not JSON", value: str = "x", index: int = -1) -> pl.DataFrame:
    row = ("s", "l", 0, offset, index, "dead", "decode", rule, "", value)
    return pl.DataFrame([row], schema=LETTERS, orient="row")


def test_dead_letters_are_compared_word_for_word() -> None:
    both = pl.concat([letter(1), letter(2)])
    assert list(comparing.letters(both, both)) == []
    [lost] = comparing.letters(both, letter(2))
    assert (lost.lane, lost.where, lost.second) == ("l", "position 0:1 of s", "")
    [other] = comparing.letters(letter(1), letter(1, value="y"))
    assert (other.first, other.second) == ('{"value": "x"}', '{"value": "y"}')
    [moved] = comparing.letters(letter(1, index=0), letter(1, index=0, rule="empty"))
    assert (moved.where, moved.first) == ("position 0:1:0 of s", '{"rule": "not JSON"}')


def test_counts_are_compared_by_what_must_be_the_same() -> None:
    first, second = Counts(records=5, written=5), Counts(records=5, written=3, superseded=2)
    assert list(comparing.counts("l", first, second, upsert=True)) == []
    assert [one.where for one in comparing.counts("l", first, second, upsert=False)] == [
        "written",
        "superseded",
    ]
    [one] = comparing.counts("l", first, Counts(records=5, written=4), upsert=True)
    assert (one.kind, one.first, one.second) == ("count", "5", "4")
    [dead] = comparing.counts("l", Counts(dead=1), Counts(), upsert=True)
    assert (dead.where, dead.first, dead.second) == ("dead", "1", "0")


def test_long_values_are_cut() -> None:
    first = upserted(a=json.dumps({"n": "x" * 5_000}).encode())
    [one] = comparing.tables("t", first, upserted())
    assert len(one.first) < 700
    assert one.first.endswith("characters more)")
