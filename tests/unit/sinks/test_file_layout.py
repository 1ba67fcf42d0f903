"""Names of folders: what Hive would write, whatever the values are."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock as ps
from penstock.contract import spec
from penstock.errors import ProfileError, Refused
from penstock.plan import Lane
from penstock.profile import Store
from penstock.sinks.files import layout, settings


class Visit(ps.Contract):
    id: int
    place: str | None
    good: bool
    day: date
    at: datetime
    amount: float


def lane() -> Lane:
    return Lane("visits@lake", "lake", "visits", "append", spec(Visit), (), 1, None, "", 0)


def read(**table: object) -> settings.Settings:
    return settings.read(Store("lake", "file:///x", {"visits": table}), lane())


def frame(*places: str | None) -> pl.DataFrame:
    many = len(places)
    return pl.DataFrame(
        {
            "id": range(many),
            "place": pl.Series(places, dtype=pl.String),
            "good": [True] * many,
            "day": [date(2026, 11, 20)] * many,
            "at": [datetime(2026, 11, 20, 23, 59, 59, 999999, UTC)] * many,
        }
    )


texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@given(st.lists(texts, min_size=1, max_size=20))
def test_every_value_comes_back_from_its_folder_or_is_unfit(places: list[str | None]) -> None:
    parts = read(partition_by=["place", "id", "good", "day"]).parts
    rows = frame(*places)
    unfit = {number for number, _ in layout.unfit(parts, rows)}
    assert unfit >= {n for n, place in enumerate(places) if place in {"", layout.NULL}}
    for number, folder in enumerate(layout.folders(parts, rows).to_list()):
        if number in unfit:
            continue
        names = folder.split("/")
        assert len(names) == 4
        assert all(len(name.encode()) <= 255 for name in names)
        assert layout.values(parts, f"{folder}/f.parquet") == {
            "place": places[number],
            "id": number,
            "good": True,
            "day": date(2026, 11, 20),
        }


def test_names_are_escaped_as_hive_does() -> None:
    parts = read(partition_by=["place"]).parts
    named = layout.folders(parts, frame("a/b", 'q"%=:', "ünï ☃ +.", None, "\x07", "{[^]\\"))
    assert named.to_list() == [
        "place=a%2Fb",
        "place=q%22%25%3D%3A",
        "place=ünï ☃ +.",
        "place=__HIVE_DEFAULT_PARTITION__",
        "place=%07",
        "place=%7B%5B%5E%5D%5C",
    ]


def test_a_day_is_that_of_utc() -> None:
    parts = read(partition_by=["date(at)"]).parts
    assert layout.folders(parts, frame("x")).to_list() == ["at_date=2026-11-20"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"format": "orc"}, "format is parquet or ndjson"),
        ({"compression": "lz4"}, "compression is zstd or snappy"),
        ({"nonsense": 1}, "no setting 'nonsense'"),
        ({"partition_by": "place"}, "is a list of columns"),
        ({"partition_by": ["nowhere"]}, "the contract has no field 'nowhere'"),
        ({"partition_by": ["date(place)"]}, "the contract has no datetime 'place'"),
        ({"partition_by": ["at"]}, r"write 'date\(at\)'"),
        ({"partition_by": ["amount"]}, "folders cannot be named by 'amount'"),
        ({"partition_by": ["place", "place"]}, "names two things 'place'"),
        ({"rows": 0}, "rows is a number from 1 on"),
        ({"age": "soon"}, "age: 'soon' is not a duration"),
        ({"bytes": 7}, "bytes: 7 is not a size"),
    ],
)
def test_a_wrong_setting_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        read(**table)


@pytest.mark.parametrize("name", ["_hidden", ".hidden", "x" * 256])
def test_a_table_that_no_reader_would_see_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        layout.table_folder(name)
