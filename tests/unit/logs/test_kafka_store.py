"""Settings of a store's topics, and headers that are read back."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProfileError
from penstock.logs.kafka import store
from penstock.logs.kafka.headers import marks
from penstock.profile import Store
from penstock.testing.conformance.subjects import Person, lane


def read(mode: str, registry: str | None = None, **settings: Any) -> store.Target:
    place = Store("events", "kafka://h", {"people": settings}, registry=registry, prefix="x.")
    return store.read(place, lane(Person, mode))


@pytest.mark.parametrize(
    ("mode", "settings", "words"),
    [
        ("append", {"colour": "red"}, "no setting 'colour'; there are partitions, key"),
        ("append", {"partitions": 0}, "a number from 1 to 1000"),
        ("append", {"partitions": "3"}, "a number from 1 to 1000"),
        ("append", {"partitions": True}, "a number from 1 to 1000"),
        ("append", {"key": "nope"}, "its fields are id, email, age"),
        ("append", {"key": "email"}, "email cannot be a key"),
        ("append", {"key": [3]}, "its fields are"),
        ("upsert", {"key": "id"}, "upserts by id; remove key"),
        ("append", {"retention": "7 dogs"}, "7 dogs"),
        ("append", {"size": 3}, "a size such as"),
        ("append", {"compact": "yes"}, "true or false"),
        ("append", {"format": "xml"}, "there are 'json'"),
        ("append", {"format": "avro"}, "needs a registry"),
        ("append", {"config": 3}, "a table of Kafka's settings"),
    ],
)
def test_wrong_settings_are_told(mode: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ProfileError, match=f"store 'events', table 'people'.*{words}"):
        read(mode, **settings)


def test_settings_become_the_topics_own() -> None:
    made = read("append", partitions=3, size="9GB", config={"a.b": True, "c": 1}).wanted(3)
    assert (made.name, made.partitions, made.config) == ("x.people", 3, {"a.b": "true", "c": "1"})
    assert made.settings(3)["retention.bytes"] == "3000000000"
    assert read("append").lane.key == ("id",)
    assert read("upsert").wanted(1).settings(1) == {"cleanup.policy": "compact"}
    both = read("upsert", retention="1d").wanted(1).settings(1)
    assert both["cleanup.policy"] == "compact,delete"
    assert read("append", "http://r", format="avro").lane.codec.format == "avro"


def test_what_headers_tell_is_read_back() -> None:
    found = _marks({"penstock-writer": b"p/s", "penstock-position": b"3/7/-1", "x": b""})
    assert found == {
        "writer": b"p/s", "_order": None, "_partition": 3, "_offset": 7, "_index": -1,
    }  # fmt: skip


@given(st.dictionaries(
    st.sampled_from(["penstock-writer", "penstock-position", "penstock-order", "x"]), st.binary()
))  # fmt: skip
def test_headers_of_others_may_be_anything(headers: dict[str, bytes]) -> None:
    assert _marks(headers)["writer"] == headers.get("penstock-writer")


def _marks(headers: dict[str, bytes]) -> dict[str, Any]:
    pairs = [[name, b64encode(value).decode()] for name, value in headers.items()]
    records = pl.DataFrame({"headers": [json.dumps(pairs).encode()]}, {"headers": pl.Binary})
    return marks(records).row(0, named=True)
