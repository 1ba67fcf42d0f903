"""Whatever bytes are appended come back as they are, in order, each once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.logs.columns import RECORDS
from penstock.logs.postgresql import open_topic
from penstock.logs.topic import TopicLog
from penstock.records import Limits

PARTITIONS = 3


@pytest.fixture
def log(database: str) -> Iterator[TopicLog]:
    opened = open_topic(database, "any", PARTITIONS)
    yield opened
    opened.close()


RECORD = st.tuples(
    st.integers(0, PARTITIONS - 1),
    st.just(0),
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=3000),
    st.none() | st.just(b"[]"),
    st.none()
    | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=st.lists(st.lists(RECORD, max_size=12), max_size=3), page=st.integers(1, 9))
def test_any_bytes_come_back(
    log: TopicLog, batches: list[list[tuple[object, ...]]], page: int
) -> None:
    starts = {partition: span.end for partition, span in log.spans().items()}
    frames = [pl.DataFrame(batch, schema=RECORDS, orient="row") for batch in batches]
    for frame in frames:
        log.append(frame)
    read = [RECORDS.to_frame()]
    at = dict(starts)
    while (batch := log.read(at, Limits(page, 1 << 12))).spans:
        read.append(batch.records)
        at |= {partition: span.end for partition, span in batch.spans.items()}
    found = pl.concat(read).sort("partition", "offset")
    sent = pl.concat([RECORDS.to_frame(), *frames]).sort("partition", maintain_order=True)
    assert found.drop("offset").equals(sent.drop("offset"))
    for partition, start in starts.items():
        offsets = found.filter(pl.col("partition") == partition)["offset"].to_list()
        assert offsets == list(range(start, start + len(offsets)))
