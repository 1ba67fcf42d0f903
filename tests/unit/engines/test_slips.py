"""What tasks say of their slices, put together, is what the plan gives to the whole micro-batch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.unit.plan.test_properties import batched, compiled, records, shapes

from penstock.engines import worker
from penstock.engines.part import tails
from penstock.engines.planning import Planning
from penstock.engines.spark import slips, task
from penstock.engines.spark.bounds import MOST_BYTES, Bounds
from penstock.engines.spark.shipping import Shipped
from penstock.engines.spark.slips import Gathered, Slip
from penstock.errors import PlanFailed, Refused, Unavailable
from penstock.plan import MicroBatch, Outcome, Segment
from penstock.profile import Profile
from penstock.records import LaneKey, Span

KEY = LaneKey("p", "log", "log", "")
DUTY = task.Duty(Shipped("", "", "", ""), Profile("", "", ""), "log", 0, "")
ARROW = pa.schema(
    {
        "partition": pa.int32(),
        "offset": pa.int64(),
        "key": pa.binary(),
        "value": pa.binary(),
        "timestamp": pa.timestamp("us", "UTC"),
        "born": pa.binary(),
        "headers": pa.string(),
    }
)


def sliced(found: pl.DataFrame, cuts: list[int]) -> list[pa.RecordBatch]:
    """The records as Spark brings them: in slices, the time of birth in a header."""
    born = [at.to_bytes(8, "big", signed=True) for at in found["born"].to_physical()]
    columns = found.select("partition", "offset", "key", "value").to_dict(as_series=False)
    columns |= {"timestamp": [0] * found.height, "born": born, "headers": [None] * found.height}
    whole = pa.RecordBatch.from_pydict(columns, schema=ARROW)
    places = sorted({0, *(cut % (found.height + 1) for cut in cuts), found.height})
    return [whole.slice(start, end - start) for start, end in pairwise(places)]


def worked(
    segment: Segment, batch: MicroBatch, starts: Mapping[str, Mapping[int, int]], cuts: list[int]
) -> Gathered:
    """Run tasks over slices of a micro-batch, as executors do."""
    todo = task.Task(DUTY, KEY, starts, dict.fromkeys(range(3), 0), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_loaded", lambda duty: (segment, Planning(segment)))
        found = list(todo.run(sliced(batch.records, cuts)))
    return Gathered(
        segment, batch.spans, slips.read(one for f in found for one in f["slip"].to_pylist())
    )


def same(one: Outcome, other: Outcome) -> None:
    assert one.lanes.keys() == other.lanes.keys()
    for name, lane in one.lanes.items():
        assert_frame_equal(lane.rows, other.lanes[name].rows)
        assert lane.counts == other.lanes[name].counts
    assert lone(one) == lone(other)


def lone(outcome: Outcome) -> list[str]:
    """A letter for each lane: lanes that stand together share one."""
    return sorted(f"{o.position} {lane} {o.cause}" for o in outcome.letters for lane in o.lanes)


@settings(deadline=None)
@given(shapes, records, st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40), max_size=4))
def test_slices_give_what_the_whole_gives(
    shape: list[int], given_records: Any, begins: list[int], cuts: list[int]
) -> None:
    segment, batch = compiled("topic", shape), batched(given_records)
    spans = {p: span for p, span in batch.spans.items() if len(span)}
    batch = MicroBatch(spans, batch.records)
    starts = {
        lane.name: {p: (begins[(number + p) % len(begins)] if begins else 0) for p in spans}
        for number, lane in enumerate(segment.lanes)
    }
    planned = worker.run(segment.plan, batch, starts)
    gathered = worked(segment, batch, starts, cuts)
    same(gathered.outcome(starts), planned)
    assert gathered.tails == tails(batch)
    about = {(at.position.partition, at.position.offset) for at in planned.letters}
    assert about == set(gathered.micro.records.select("partition", "offset").iter_rows())


def gathered(*spans: Span) -> Gathered:
    segment = compiled("topic", [0])
    return Gathered(segment, {0: Span(10, 20)}, [Slip(spans={0: span}) for span in spans])


def test_slices_may_leave_gaps_and_come_in_any_order() -> None:
    gathered(Span(15, 17), Span(11, 14))


@pytest.mark.parametrize("spans", [(Span(10, 15), Span(14, 20)), (Span(9, 11),), (Span(19, 21),)])
def test_work_that_is_there_twice_or_unasked_is_noticed(spans: tuple[Span, ...]) -> None:
    with pytest.raises(Unavailable, match="twice or unasked"):
        gathered(*spans)


@pytest.mark.parametrize("error", [PlanFailed("its line"), Refused("no"), Unavailable("away")])
def test_an_error_of_a_task_is_raised_as_it_was(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        slips.read([slips.failed(error)])  # type: ignore[arg-type]


def bounds(folder: Path, *ends: Mapping[str, int], records: int = 100) -> Bounds:
    (folder / "offsets").mkdir()
    for number, one in enumerate(ends):
        lines = ["v1", '{"batchWatermarkMs":0}', json.dumps({"log": one})]
        (folder / "offsets" / str(number)).write_text("\n".join(lines))
    return Bounds(folder, "log", {0: 5, 1: 7}, records, 100)


def test_bounds_follow_one_another(tmp_path: Path) -> None:
    found = bounds(tmp_path, {"0": 9, "1": 7}, {"0": 9, "1": 8})
    assert found.spans(0) == {0: Span(5, 9)}
    found.passed(found.spans(0))
    assert found.spans(1) == {1: Span(7, 8)}


def test_a_query_whose_records_have_another_size_ends(tmp_path: Path) -> None:
    found = bounds(tmp_path, records=10)
    for size, offsets, misfit in [(MOST_BYTES, 9, False), (10, 2, False), (10, 9, True)]:
        found.judge({0: Span(0, offsets)}, size)
        assert found.misfit is misfit
    large = Bounds(tmp_path, "log", {}, 100, 100)
    large.judge({0: Span(0, 1)}, 5 * MOST_BYTES)
    assert large.misfit
