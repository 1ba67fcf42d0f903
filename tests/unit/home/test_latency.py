"""Histograms: exact counts, quantiles within a bucket of the truth."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from penstock.home.latency import Histogram

NOW = datetime(2026, 5, 6, tzinfo=UTC)
micros = st.lists(st.integers(0, 10**12), min_size=1, max_size=50)


def since(latencies: list[int]) -> Histogram:
    born = [NOW - timedelta(microseconds=latency) for latency in latencies]
    return Histogram.since(pl.Series("b", born, dtype=pl.Datetime("us", "UTC")), NOW)


@given(micros, st.floats(0, 1))
def test_a_percentile_is_within_a_bucket_of_the_truth(latencies: list[int], share: float) -> None:
    histogram = since(latencies)
    assert histogram.total == len(latencies)
    rank = max(1, math.ceil(len(latencies) * share))
    true = max(1, sorted(latencies)[rank - 1]) / 1e6
    found = histogram.percentile(share)
    assert found is not None
    assert true * 0.999999 <= found <= true * 2**0.125 * 1.000001


@given(micros, micros)
def test_merged_histograms_are_those_of_all(one: list[int], other: list[int]) -> None:
    merged = since(one)
    merged.merge(since(other))
    assert merged == since(one + other)


@given(st.dictionaries(st.integers(0, 400), st.integers(1, 2**40)))
def test_json_keeps_every_count(buckets: dict[int, int]) -> None:
    assert Histogram.from_json(Histogram(buckets).to_json()) == Histogram(buckets)


@given(st.integers(1, 10**12))
def test_one_duration_is_counted_as_a_column_would(latency: int) -> None:
    (one,) = Histogram.of(latency / 1e6).buckets
    (other,) = since([latency]).buckets
    assert abs(one - other) <= 1


def test_the_future_and_nulls() -> None:
    born = pl.Series("b", [NOW + timedelta(days=1), None], dtype=pl.Datetime("us", "UTC"))
    assert Histogram.since(born, NOW).buckets == {0: 1}
    assert Histogram().percentile(0.5) is None


@given(micros)
def test_many_rows_are_counted_as_few_are(latencies: list[int]) -> None:
    few, times = since(latencies), 1_001
    many = since(latencies * times)
    assert many == Histogram({bucket: n * times for bucket, n in few.buckets.items()})
