from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import polars as pl
import pytest

import penstock.contract as ps

from .everything import Everything


def test_synthetic_rows_survive_encoding_and_decoding() -> None:
    spec = ps.spec(Everything)
    frame = ps.fit(spec, ps.synthetic(spec, 500, seed=1))
    assert ps.validate(spec, frame) == []
    decoded = ps.decode(spec, ps.encode(spec, frame))
    assert decoded.failures == []
    assert decoded.rows.drop("_row", "_index").equals(frame)
    assert decoded.rows["_row"].to_list() == list(range(500))


class Keys(ps.Contract):
    text: str = ps.key()
    number: int = ps.key()
    amount: Annotated[Decimal, ps.Digits(9, 2)] = ps.key()
    day: date = ps.key()
    at: datetime = ps.key()
    flag: bool = ps.key()
    id: UUID = ps.key()
    kind: Literal["a", "b"] = ps.key()
    data: bytes = ps.key()


KEYS = ps.spec(Keys)


def test_one_key_column_is_its_text_and_several_are_json() -> None:
    frame = ps.synthetic(KEYS, 3, seed=2).with_columns(number=pl.lit(7, pl.Int64))
    assert ps.encode_key(KEYS, ["number"], frame).to_list() == [b"7"] * 3
    ids = frame["id"].to_list()
    assert ps.encode_key(KEYS, ["id"], frame).to_list() == [i.encode() for i in ids]
    several = ps.encode_key(KEYS, ["id", "number"], frame).to_list()
    assert several[0] == f'{{"id":"{ids[0]}","number":7}}'.encode()


@pytest.mark.parametrize("columns", [[n] for n in KEYS.key] + [["text", "at"], [*KEYS.key]])
def test_keys_are_read_back(columns: list[str]) -> None:
    frame = ps.synthetic(KEYS, 50, seed=3)
    frame = frame.with_columns(text=pl.col("text") + pl.lit('"}\n\\é😀'))
    decoded = ps.decode_key(KEYS, columns, ps.encode_key(KEYS, columns, frame))
    assert decoded.failures == []
    assert decoded.rows.select(columns).equals(frame.select(columns))


@pytest.mark.parametrize("key", [b"", b"7.0", b'7,"number":8', b"\xff", b" 7", b"{}"])
def test_a_key_that_is_none_is_a_failure(key: bytes) -> None:
    keys = pl.Series([b"1", key, b"2"], dtype=pl.Binary)
    decoded = ps.decode_key(KEYS, ["number"], keys)
    assert decoded.rows["number"].to_list() == [1, 2]
    assert [f.row for f in decoded.failures] == [1]
