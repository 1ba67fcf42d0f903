from __future__ import annotations

import inspect
from collections.abc import Callable

import polars as pl
import pytest

import penstock as ps
from penstock import plan
from penstock.errors import PlanFailed
from penstock.plan import LaneOutcome, MicroBatch, Outcome

BatchOf = Callable[..., MicroBatch]
Fn = Callable[[pl.DataFrame], object]


class Given(ps.Contract):
    n: int
    text: str
    maybe: int | None


class Made(ps.Contract):
    n: int


def run(batch: MicroBatch, fn: Fn) -> tuple[LaneOutcome, Outcome]:
    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Given).map(fn, Made).sink("out", store="w")  # type: ignore[arg-type]
    outcome = plan.compile(pipeline)[0].plan.run(batch, ["out@w"])
    return outcome.lanes["out@w"], outcome


def given(*numbers: int) -> list[bytes]:
    return [b'{"n":%d,"text":"no date","maybe":%d}' % (n, n) for n in numbers]


def line_of(fn: Fn, words: str) -> str:
    lines, first = inspect.getsourcelines(fn)
    return f"{__file__}:{first + next(i for i, line in enumerate(lines) if words in line)}"


def odd(frame: pl.DataFrame) -> pl.DataFrame:
    for n in frame["n"]:
        if n % 2 == 0:
            raise ValueError(f"{n} is even")
    return frame.select("n")


def always(frame: pl.DataFrame) -> pl.DataFrame:
    raise RuntimeError("boom")


def misspelt(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(n=pl.col("nn"))


def missing_column(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(m="n")


def no_such_name(frame: pl.DataFrame) -> pl.DataFrame:
    for _ in frame["n"]:
        nothing_of_this_name()  # type: ignore[name-defined]  # noqa: F821
    return frame.select("n")


def parse_date(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(n=pl.col("text").str.to_date("%Y-%m-%d").dt.year().cast(pl.Int64))


def row_by_row(frame: pl.DataFrame) -> pl.DataFrame:
    """Slow, but right; on an empty frame it gives no columns."""
    return pl.DataFrame([{"n": 100 // row["n"]} for row in frame.iter_rows(named=True)])


def add_maybe(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame({"n": [n + m for n, m in frame.select("n", "maybe").iter_rows()]})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_guilty_are_found_and_the_others_go_on(batch_of: BatchOf, size: int) -> None:
    lane, outcome = run(batch_of(given(*range(1, size + 1))), odd)
    assert lane.rows["n"].to_list() == list(range(1, size + 1, 2))
    assert [x.position.offset - 99 for x in outcome.letters] == list(range(2, size + 1, 2))
    assert {x.cause.rule for x in outcome.letters} <= {"odd raised ValueError"}
    assert {x.cause.value for x in outcome.letters} == {
        f"{n} is even" for n in range(2, size + 1, 2)
    }


@pytest.mark.parametrize("size", [1, 2, 5, 31])
@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (always, "boom"),
        (misspelt, "nn"),
        (missing_column, "m"),
        (no_such_name, "nothing_of_this_name"),
    ],
)
def test_a_fault_of_the_code_stops_even_a_tiny_batch(
    batch_of: BatchOf, fn: Fn, words: str, size: int
) -> None:
    with pytest.raises(PlanFailed, match=words) as caught:
        run(batch_of(given(*range(size))), fn)
    assert str(caught.value).startswith(f"{__file__}:")
    assert fn.__name__ in str(caught.value)


def test_the_message_names_the_users_line(batch_of: BatchOf) -> None:
    with pytest.raises(PlanFailed) as caught:
        run(batch_of(given(1)), always)
    assert str(caught.value).startswith(line_of(always, "boom"))
    with pytest.raises(PlanFailed) as caught:
        run(batch_of(given(1)), missing_column)
    assert str(caught.value).startswith(line_of(missing_column, "def "))


@pytest.mark.parametrize(
    ("fn", "values"),
    [
        (odd, given(2)),
        (odd, given(*range(2, 60, 2))),
        (parse_date, given(1)),
        (parse_date, given(1, 2, 3)),
        (row_by_row, given(0)),
        (row_by_row, given(0, 0, 0)),
        (add_maybe, [b'{"n":1,"text":""}']),
    ],
)
def test_a_few_records_that_are_all_bad_do_not_stop_the_segment(
    batch_of: BatchOf, fn: Fn, values: list[bytes]
) -> None:
    lane, outcome = run(batch_of(values), fn)
    assert lane.counts[0].dead == len(values) == len(outcome.letters)


def test_a_large_batch_that_fails_whole_and_in_every_sample_stops_the_segment(
    batch_of: BatchOf,
) -> None:
    with pytest.raises(PlanFailed, match="failed on all of 500 records and on each of 63 alone"):
        run(batch_of(given(*[0] * 500)), row_by_row)
    lane, _ = run(batch_of(given(*[0] * 400, *[1] * 100)), row_by_row)
    assert lane.counts[0].dead == 400


def test_a_map_that_fails_only_on_many_rows_is_not_row_wise(batch_of: BatchOf) -> None:
    def single(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"n": [frame["n"].item()]})

    with pytest.raises(PlanFailed, match=r"single fails on 2 records together .* row-wise"):
        run(batch_of(given(1, 2, 3, 4)), single)


def test_rows_that_break_the_contract_die_alone(batch_of: BatchOf) -> None:
    def null_for_two(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(n=pl.when(pl.col("n") != 2).then("n"))

    lane, outcome = run(batch_of(given(1, 2, 3)), null_for_two)
    assert lane.rows["n"].to_list() == [1, 3]
    (letter,) = outcome.letters
    assert letter.position.offset == 101
    assert (letter.cause.stage, letter.cause.field) == ("map", "n")


def test_contract_breaks_and_errors_in_one_batch(batch_of: BatchOf) -> None:
    def both(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame["n"] == 3).any():
            raise KeyError("three")
        return frame.select(n=pl.when(pl.col("n") % 5 != 0).then("n"))

    lane, outcome = run(batch_of(given(*range(1, 12))), both)
    assert lane.rows["n"].to_list() == [1, 2, 4, 6, 7, 8, 9, 11]
    assert [x.position.offset - 99 for x in outcome.letters] == [3, 5, 10]


def test_a_contract_that_every_row_breaks_stops_the_segment(batch_of: BatchOf) -> None:

    def forgotten(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(n=pl.lit(None, pl.Int64)).select("n")

    with pytest.raises(PlanFailed, match=r"every row that .*forgotten gives breaks Made\.n"):
        run(batch_of(given(*range(50))), forgotten)
    lane, _ = run(batch_of(given(1, 2)), forgotten)
    assert lane.counts[0].dead == 2


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda f: f.lazy(), "LazyFrame: end it with .collect()"),
        (lambda f: f["n"], "Series: end it with .to_frame()"),
        (lambda f: None, "None: is `return` missing"),
        (lambda f: [1], "this one list"),
        (lambda f: f.select(pl.col("n").first()).head(0), "one row for each row"),
        (lambda f: pl.concat([f, f]).select("n"), "one row for each row"),
        (lambda f: f.select(n="text"), "Int64"),
        (lambda f: f.select("n", "text"), "no such field"),
    ],
)
def test_what_is_no_frame_of_the_contract_is_told(batch_of: BatchOf, fn: Fn, words: str) -> None:
    with pytest.raises(PlanFailed) as caught:
        run(batch_of(given(1)), fn)
    assert words in str(caught.value)


def test_a_map_that_drops_rows_is_told_to_use_filter(batch_of: BatchOf) -> None:
    lane, outcome = run(batch_of(given(1, 2, 3)), lambda f: f.filter(pl.col("n") > 1).select("n"))
    assert lane.rows["n"].to_list() == [2, 3]
    assert ".filter()" in outcome.letters[0].cause.rule


def test_a_panic_of_polars_is_an_error_like_others(batch_of: BatchOf) -> None:
    def panics(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame["n"] == 2).any():
            raise pl.exceptions.PanicException("oh")
        return frame.select("n")

    lane, _ = run(batch_of(given(1, 2, 3)), panics)
    assert lane.rows["n"].to_list() == [1, 3]


def test_lack_of_memory_is_no_fault_of_a_record(batch_of: BatchOf) -> None:
    def hungry(frame: pl.DataFrame) -> pl.DataFrame:
        raise MemoryError

    with pytest.raises(MemoryError):
        run(batch_of(given(1)), hungry)


def test_a_filter_that_fails_for_a_record(batch_of: BatchOf) -> None:
    pipeline = ps.Pipeline("p")
    stream = pipeline.topic("t", Given)
    stream.filter(pl.col("text").str.to_integer() > 1).sink("out", store="w")
    values = [b'{"n":1,"text":"1"}', b'{"n":2,"text":"x"}', b'{"n":3,"text":"3"}']
    outcome = plan.compile(pipeline)[0].plan.run(batch_of(values), ["out@w"])
    lane = outcome.lanes["out@w"]
    assert lane.rows["n"].to_list() == [3]
    assert (lane.counts[0].filtered, lane.counts[0].dead) == (1, 1)
    assert outcome.letters[0].cause.stage == "filter"


def test_a_filter_that_fails_for_every_record(batch_of: BatchOf) -> None:
    pipeline = ps.Pipeline("p")
    stream = pipeline.topic("t", Given).filter(pl.col("text").str.to_integer() > 1)
    stream.sink("out", store="w")
    outcome = plan.compile(pipeline)[0].plan.run(batch_of(given(1, 2)), ["out@w"])
    assert outcome.lanes["out@w"].rows.is_empty()
    assert outcome.lanes["out@w"].counts[0].dead == 2


def test_a_filter_on_null_drops_the_row(batch_of: BatchOf) -> None:
    pipeline = ps.Pipeline("p")
    pipeline.topic("t", Given).filter(pl.col("maybe") > 1).sink("out", store="w")
    values = [b'{"n":1,"text":"1"}', b'{"n":2,"text":"x","maybe":2}']
    lane = plan.compile(pipeline)[0].plan.run(batch_of(values), ["out@w"]).lanes["out@w"]
    assert lane.rows["n"].to_list() == [2]
    assert lane.counts[0].filtered == 1
