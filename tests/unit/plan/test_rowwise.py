from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Annotated

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.errors import PlanFailed
from penstock.plan import MicroBatch, Plan

BatchOf = Callable[..., MicroBatch]
Fn = Callable[[pl.DataFrame], pl.DataFrame]


class Given(ps.Contract):
    n: int
    text: str


class Made(ps.Contract):
    n: float


def plan_of(fn: Fn) -> Plan:
    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Given).map(fn, Made).sink("out", store="w")
    return plan.compile(pipeline)[0].plan


def filtered_by(condition: pl.Expr) -> Plan:
    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Given).filter(condition).sink("out", store="w")
    return plan.compile(pipeline)[0].plan


def floats(expression: pl.Expr) -> Fn:
    return lambda frame: frame.select(n=expression.cast(pl.Float64))


N = pl.col("n")
NOT_ROW_WISE: dict[str, Fn] = {
    "mean": floats(N / N.mean()),
    "running": floats(N.cum_sum()),
    "neighbour": floats(N.shift(1).fill_null(0)),
    "sorted": floats(N.sort()),
    "reversed": floats(N.reverse()),
    "rank": floats(N.rank()),
    "number": floats(pl.int_range(pl.len())),
    "first": lambda f: f.select(n=pl.lit(float(f["n"][0]))).select(N.repeat_by(f.height).explode()),
    "height": lambda f: f.select(n=pl.lit(float(f.height)) + N * 0),
    "single": lambda f: pl.DataFrame({"n": [float(f["n"].item())]}),
}
CHANGING: dict[str, Fn] = {
    "clock": lambda f: f.select(n=N * 0.0 + time.perf_counter_ns()),
    "chance": lambda f: f.select(n=N * 0.0 + random.random()),
    "shuffled": floats(N.shuffle()),
}
ROW_WISE: dict[str, Fn] = {
    "arithmetic": floats(N * 2 + 1),
    "nan": floats(N * float("nan")),
    "text": floats(pl.col("text").str.len_bytes()),
    "python": lambda f: pl.DataFrame({"n": [float(n % 7) for n in f["n"]]}),
}


@pytest.mark.parametrize("case", NOT_ROW_WISE)
def test_a_map_that_looks_at_other_rows_is_found(case: str) -> None:
    (finding,) = plan_of(NOT_ROW_WISE[case]).check()
    assert finding.startswith(__file__)
    assert "row-wise" in finding


def test_the_finding_shows_two_rows() -> None:
    (finding,) = plan_of(NOT_ROW_WISE["mean"]).check()
    assert finding.count("the row n=") == 2
    assert finding.count("among all 64 rows gives n=") == 2
    assert finding.count("in a smaller part gives n=1.0") == 2


@pytest.mark.parametrize("case", CHANGING)
def test_a_map_that_uses_a_clock_or_chance_is_found(case: str) -> None:
    (finding,) = plan_of(CHANGING[case]).check()
    assert "must not use a clock or chance" in finding


@pytest.mark.parametrize("case", ROW_WISE)
def test_a_row_wise_map_passes(case: str, batch_of: BatchOf) -> None:
    found = plan_of(ROW_WISE[case])
    assert found.check() == []
    found.rowwise(batch_of([b'{"n":1,"text":"a"}', b"junk", b'{"n":2,"text":"b"}']))


@pytest.mark.parametrize(
    "condition", [N.mean() < N, N.max() == N, N.is_first_distinct() & (pl.len() > 3), N.is_unique()]
)
def test_a_filter_that_looks_at_other_rows_is_found(condition: pl.Expr) -> None:
    found = filtered_by(condition)
    batch = MicroBatch({}, pl.DataFrame(schema=plan.BATCH_SCHEMA))
    found.rowwise(batch)
    if condition.meta.root_names() == ["n"] and "unique" in str(condition):
        return  # made-up numbers hardly repeat: only real rows show it
    (finding,) = found.check()
    assert finding.startswith(f"{__file__}:")
    assert "filter is not row-wise" in finding


def test_the_first_batches_show_what_made_up_rows_do_not(batch_of: BatchOf) -> None:
    found = filtered_by(N.is_unique())
    values = [b'{"n":1,"text":""}'] * 3
    with pytest.raises(PlanFailed, match="filter is not row-wise"):
        found.rowwise(batch_of(values))


def test_another_order_shows_what_parts_do_not(batch_of: BatchOf) -> None:
    def by_order(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(n=pl.lit(float(frame["n"].is_sorted())) + N * 0)

    values = [b'{"n":%d,"text":""}' % n for n in range(20)]
    with pytest.raises(PlanFailed, match=r"by_order is not row-wise[\s\S]*in another order gives"):
        plan_of(by_order).rowwise(batch_of(values))


def test_check_finds_code_that_fails_on_every_row() -> None:
    (finding,) = plan_of(floats(pl.col("m"))).check()
    assert "fails on every made-up row: ColumnNotFoundError" in finding
    assert filtered_by(N > 1).check() == []


def test_made_up_text_that_does_not_parse_is_no_finding() -> None:
    assert plan_of(floats(pl.col("text").str.to_date().dt.year())).check() == []


def test_constant_conditions_are_row_wise(batch_of: BatchOf) -> None:
    found = filtered_by(pl.lit(True))
    assert found.check() == []
    batch = batch_of([b'{"n":1,"text":""}', b'{"n":2,"text":""}'])
    assert found.run(batch, ["out@w"]).lanes["out@w"].rows.height == 2


def test_a_constraint_that_looks_at_other_rows_is_found() -> None:
    class Judged(ps.Contract):
        n: Annotated[int, ps.Check(lambda n: n <= n.mean(), "below the mean")]

    class Unjudged(ps.Contract):
        n: Annotated[int, ps.Check(lambda n: n % 2 == 0, "even")]
        text: Annotated[str, ps.Check(lambda t: t.str.to_integer() > 0, "positive")]

    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Judged).sink("out", store="w")
    pipeline.topic("u", Unjudged).sink("out2", store="w")
    judged, unjudged = plan.compile(pipeline)
    (finding,) = judged.plan.check()
    assert finding.startswith(f"{__file__}:")
    assert "a constraint of Judged is not row-wise" in finding
    assert unjudged.plan.check() == []


def test_a_constraint_that_raises_breaks_only_its_row(batch_of: BatchOf) -> None:
    class Judged(ps.Contract):
        text: Annotated[str, ps.Check(lambda t: t.str.to_integer() > 0, "positive")]

    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Judged).sink("out", store="w")
    values = [b'{"text":"5"}', b'{"text":"x"}', b'{"text":"0"}', b'{"text":"7"}']
    outcome = plan.compile(pipeline)[0].plan.run(batch_of(values), ["out@w"])
    assert outcome.lanes["out@w"].rows["text"].to_list() == ["5", "7"]
    assert [(x.position.offset, x.cause.rule) for x in outcome.letters] == [
        (101, "positive"),
        (102, "positive"),
    ]
    assert "the check raised" in outcome.letters[0].cause.detail
