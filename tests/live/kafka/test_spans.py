"""Whatever transactions do, spans leave no offset out and rereads give the same again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live.kafka.producing import Owner

from penstock.logs.kafka import KafkaLog, open_topic
from penstock.records import Limits, LogBatch, Span

PARTITIONS = 2


@dataclass(frozen=True)
class Write:
    """Records written to a partition: in a transaction that ends so, or in none."""

    partition: int
    values: tuple[bytes, ...]
    commit: bool | None


WRITES = st.lists(
    st.builds(
        Write,
        st.integers(0, PARTITIONS - 1),
        st.lists(st.binary(max_size=300), min_size=1, max_size=6).map(tuple),
        st.sampled_from([True, True, False, None]),
    ),
    max_size=12,
)


Seen = dict[int, dict[int, bytes | None]]


def written(owner: Owner, writes: Sequence[Write]) -> Seen:
    """Write; return for each partition the records to be seen, by offset."""
    seen: Seen = {p: {} for p in range(PARTITIONS)}
    for write in writes:
        if write.commit is None:
            seen[write.partition] |= owner.produce(write.values, write.partition)
        else:
            seen[write.partition] |= owner.transact(
                write.values, write.partition, commit=write.commit
            )
    return seen


def rows(batch: LogBatch) -> Seen:
    found: Seen = {p: {} for p in range(PARTITIONS)}
    for partition, offset, value in batch.records.select("partition", "offset", "value").rows():
        found[partition][offset] = value
    assert batch.records.equals(batch.records.sort("partition", "offset"))
    return found


def read_all(log: KafkaLog, ends: dict[int, int], limits: Limits) -> LogBatch:
    at = dict.fromkeys(range(PARTITIONS), 0)
    parts = [log.read({}, limits).records]
    while any(at[p] < ends[p] for p in at):
        batch = log.read(at, limits)
        assert batch.spans
        assert batch.records.height <= limits.records
        for partition, span in batch.spans.items():
            assert span.start == at[partition]
            assert span.end > span.start
            at[partition] = span.end
        parts.append(batch.records)
    assert at == ends
    records = pl.concat(parts).sort("partition", "offset")
    return LogBatch({p: Span(0, end) for p, end in ends.items()}, records)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    writes=WRITES,
    records=st.sampled_from([1, 3, 1000]),
    size=st.sampled_from([1, 400, 1 << 20]),
    data=st.data(),
)
def test_every_offset_is_accounted_for(
    kafka: str, topic_name: str, writes: list[Write], records: int, size: int, data: st.DataObject
) -> None:
    owner = Owner(kafka, f"{topic_name}_{uuid.uuid4().hex[:8]}")
    owner.make(PARTITIONS)
    seen = written(owner, writes)
    log = open_topic(kafka, owner.name)
    try:
        ends = {p: span.end for p, span in log.spans().items()}
        for partition, end in ends.items():
            own = [write for write in writes if write.partition == partition]
            assert end == sum(len(w.values) + (w.commit is not None) for w in own)
        assert rows(read_all(log, ends, Limits(records, size))) == seen
        spans = {}
        for partition, end in ends.items():
            first, last = sorted(data.draw(st.integers(0, end)) for _ in range(2))
            spans[partition] = Span(first, last)
        batch = log.reread(spans)
        assert batch.spans == spans
        assert rows(batch) == {
            p: {o: v for o, v in seen[p].items() if span.start <= o < span.end}
            for p, span in spans.items()
        }
    finally:
        log.close()
