"""A recorded input is read back as it was, and a wrong one is refused with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.contract import decode
from penstock.engines.trials import recording, taking
from penstock.errors import DeclarationError
from penstock.interfaces import Framing, Response
from penstock.serdes.partitioner import partition_of


class Order(ps.Contract):
    id: int = ps.key()
    name: str


def segment() -> plan.Segment:
    pipeline = ps.Pipeline("shop")
    pipeline.topic("orders", Order).sink("orders", store="one")
    return plan.compile(pipeline)[0]


def test_a_recording_is_read_back(tmp_path: Path) -> None:
    records = pl.DataFrame(
        {
            "partition": [1, 0, 1],
            "key": [b"\xff", None, b""],
            "value": [None, b"\0\xff", b'{"name": "\\ud800 \xc3\xa9\n"}'],
            "headers": [b'[["a", null], ["b", "/w=="]]', None, None],
            "born": [datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)] * 3,
            "row": [False, False, True],
        }
    )
    kept = {
        "orders": recording.completed(records, 3),
        "none": recording.completed(records.clear(), 2),
    }
    recording.write(tmp_path / "kept", kept)
    found = recording.read(tmp_path / "kept", [])
    assert list(found) == ["orders", "none"]
    for name, log in kept.items():
        assert found[name].partitions == log.partitions
        assert found[name].records.drop("headers").equals(log.records.drop("headers"))
    assert found["orders"].records["headers"][0] == b'[["a",null],["b","/w=="]]'


def test_what_a_person_leaves_out_is_chosen(tmp_path: Path) -> None:
    lines = ['{"log": "o", "partitions": 4}']
    lines += ['{"log": "o", "key": "k", "value": "1"}', "", '{"log": "o"}', '{"log": "o"}']
    (tmp_path / "input").write_text("\n".join(lines))
    found = recording.read(tmp_path / "input", [])["o"]
    assert found.partitions == 4
    by_key = partition_of(pl.Series([b"k"]), 4)[0]
    assert found.records["partition"].to_list() == [by_key, 1, 2]
    assert found.records["value"].to_list() == [b"1", None, None]


@pytest.mark.parametrize(
    "line",
    [
        '{"log": "o", "value": 7}',
        '{"value": "7"}',
        '{"log": "o", "vlaue": "7"}',
        '{"log": "o", "partition": -1}',
        '{"log": "o", "value_base64": "?"}',
        '{"log": "o", "born": "2026-01-01T00:00:00"}',
        "{",
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "input").write_text('{"log": "o"}\n' + line)
    with pytest.raises(DeclarationError, match="input:2: this is no record of an input") as caught:
        recording.read(tmp_path / "input", [])
    assert caught.value.line == 2


def test_a_folder_holds_values_and_responses(tmp_path: Path) -> None:
    (tmp_path / "orders.txt").write_bytes(b"a\n\nb\n")
    (tmp_path / "raw").write_bytes(b"a\nb\n")
    found = recording.read(tmp_path, ["raw"])
    assert found["orders"].records["value"].to_list() == [b"a", b"", b"b"]
    assert found["raw"].records["value"].to_list() == [b"a\nb\n"]


def test_made_up_records_hold_updates_deletes_and_bad_ones() -> None:
    made = taking.made_up(segment(), 500, seed=1)
    again = taking.made_up(segment(), 500, seed=1)
    records = made.records
    assert records.drop("born").equals(again.records.drop("born"))
    assert made.partitions == taking.PARTITIONS
    assert records["key"].n_unique() < 500
    assert 0 < records["value"].null_count() < 10
    decoded = decode(segment().spec, records["value"].drop_nulls())
    assert 10 < len(decoded.failures) < 25
    rows = records.filter(pl.col("row"))
    assert decode(segment().spec, rows["value"]).failures == []


class Endless:
    framing = Framing()
    every = None

    def describe(self) -> str:
        return "endless"

    def check(self) -> None:
        pass

    def poll(self, cursor: Any, clock: Any) -> Any:
        while True:
            yield Response(b"{}", None, {"status": "200"}, cut_off=True)


def test_a_source_that_never_ends_is_left() -> None:
    found = taking.polled(Endless(), 3).records
    assert found["value"].to_list() == [b"{}"] * 3
    assert found["headers"][0] == b'[["status", "MjAw"], ["cut-off", "dHJ1ZQ=="]]'
