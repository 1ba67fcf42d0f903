from __future__ import annotations

import polars as pl

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


def test_a_key_is_text_or_json() -> None:
    spec = ps.spec(Everything)
    frame = ps.synthetic(spec, 3, seed=2).with_columns(age=pl.lit(7, pl.Int64))
    ids = frame["id"].to_list()
    assert ps.encode_key(spec, ["id"], frame).to_list() == [i.encode() for i in ids]
    several = ps.encode_key(spec, ["id", "age"], frame).to_list()
    assert several[0] == f'{{"id":"{ids[0]}","age":7}}'.encode()
