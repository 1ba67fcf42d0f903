from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.serdes import partitioner
from penstock.serdes.partitioner import FEW, murmur2, partition_of

KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", KAFKA)
def test_murmur2_is_kafkas(key: bytes) -> None:
    assert murmur2(key) == KAFKA[key] % 2**32


@pytest.mark.parametrize("times", [1, FEW])
def test_partitions_drop_the_sign(times: int) -> None:
    keys = pl.Series([*KAFKA] * times, dtype=pl.Binary)
    expected = [(h % 2**32 & 0x7FFFFFFF) % 5 for h in KAFKA.values()] * times
    assert partition_of(keys, 5).to_list() == expected
    assert partition_of(keys, 1).to_list() == [0] * 6 * times


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40) | st.binary(min_size=250, max_size=270), min_size=1))
def test_columns_hash_as_single_keys_do(keys: list[bytes]) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % 7 for key in keys]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioner, "FEW", 0)
        assert partition_of(pl.Series(keys, dtype=pl.Binary), 7).to_list() == expected
