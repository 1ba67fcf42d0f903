"""Running the user's code on a batch: when it fails, finding the guilty records by bisection.

A batch that fails as a whole is first asked whose fault it is. It is the code's, and the segment
stops with `PlanFailed`, when every one of up to 64 sampled records fails alone too, all in the
same way (type and line), and

* there are at least 32 records, or
* made-up records all fail in this way too, and either the error is of a sort that wrong code
  makes (`blame.CODE`: a missing column, a name, an attribute) or an empty frame fails so as well.

So a handful of records that are all bad never stops a segment, and a misspelt column always does.
A frame whose halves pass while the whole fails is proof that the code is not row-wise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from penstock.contract import synthetic, validate
from penstock.errors import PlanFailed
from penstock.plan import blame
from penstock.records import Cause
from penstock.transforms import Computation, Filter, Map
from penstock.transforms.filter import KEEP

SAMPLE = 64
MANY = 32
MADE_UP = 8


@dataclass(frozen=True)
class Computed:
    """What a computation gave.

    Args:
        result: Results of the good rows.
        kept: Their row numbers; None when all rows are good.
        failures: Row numbers of the others, and why.
    """

    result: pl.DataFrame
    kept: pl.Series | None
    failures: list[tuple[int, Cause]]

    def good(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame, aligned with the input, that are good."""
        return frame if self.kept is None else frame[self.kept]


def compute(step: Computation, rows: pl.DataFrame, *, judged: bool = True) -> Computed:
    """Run the user's code on rows and check what it gives against the contract.

    Args:
        step: The map or filter.
        rows: One or more rows that fit its input.
        judged: Whether a fault of the code raises.

    Raises:
        PlanFailed: The code is at fault, not a record.
    """
    result = attempt(step, rows)
    if isinstance(result, pl.DataFrame):
        done = Computed(result, None, [])
    else:
        if judged and (fault := _fault(step, rows, result)):
            raise PlanFailed(fault) from result
        done = _bisected(step, rows, result)
    return _valid(step, done, rows.height if judged else 0) if isinstance(step, Map) else done


def attempt(step: Computation, rows: pl.DataFrame) -> pl.DataFrame | BaseException:
    """Run the user's code on rows; return its result, or what it raised."""
    try:
        return step.compute(rows)
    except MemoryError:  # no fault of a record
        raise
    except blame.FAULTS as error:
        return error


def fails_always(step: Computation) -> BaseException | None:
    """The error with which the code fails on all made-up rows, if wrong code explains it."""
    made_up = synthetic(step.input, MADE_UP)
    errors = [e for e in _alone(step, made_up) if isinstance(e, BaseException)]
    if len(errors) < made_up.height or len({blame.kind(error) for error in errors}) > 1:
        return None
    if isinstance(errors[0], blame.CODE):
        return errors[0]
    empty = attempt(step, made_up.clear())
    same = isinstance(empty, BaseException) and blame.kind(empty) == blame.kind(errors[0])
    return errors[0] if same else None


def _alone(step: Computation, rows: pl.DataFrame) -> Iterator[pl.DataFrame | BaseException]:
    return (attempt(step, part) for part in rows.iter_slices(1))


def _fault(step: Computation, rows: pl.DataFrame, error: BaseException) -> str | None:
    """Say why the code is at fault; None when it is not, or not surely."""
    sample = rows.gather_every(-(-rows.height // SAMPLE))
    kinds = set()
    for result in _alone(step, sample):
        if isinstance(result, pl.DataFrame):
            return None
        kinds.add(blame.kind(result))
        error = result
    if len(kinds) > 1:
        return None
    if rows.height < MANY:
        always = fails_always(step)
        if always is None or blame.kind(always) not in kinds:
            return None
    return (
        f"{blame.place(step, error)}: {step.name} failed on all of {rows.height} records and on "
        f"each of {sample.height} alone, so the code is at fault: "
        f"{type(error).__name__}: {blame.words(error)}; correct it and start again"
    )


def _bisected(step: Computation, rows: pl.DataFrame, error: BaseException) -> Computed:
    results, numbers, failures = [_nothing(step)], [pl.Series([], dtype=pl.UInt32)], []
    for first, found in _halves(step, rows, 0, error):
        if isinstance(found, Cause):
            failures.append((first, found))
        else:
            results.append(found)
            end = first + found.height
            numbers.append(pl.int_range(first, end, dtype=pl.UInt32, eager=True))
    return Computed(pl.concat(results), pl.concat(numbers), failures)


def _halves(
    step: Computation, rows: pl.DataFrame, first: int, error: BaseException
) -> Iterator[tuple[int, pl.DataFrame | Cause]]:
    """Halve rows that failed together until the guilty are alone; yield what each part gave."""
    if rows.height == 1:
        yield first, blame.cause(step, error)
        return
    half = rows.height // 2
    failed = False
    for start, part in ((0, rows[:half]), (half, rows[half:])):
        result = attempt(step, part)
        if isinstance(result, pl.DataFrame):
            yield first + start, result
        else:
            failed = True
            yield from _halves(step, part, first + start, result)
    if not failed:
        raise PlanFailed(
            f"{blame.place(step, error)}: {step.name} fails on {rows.height} records together "
            f"({type(error).__name__}: {blame.words(error)}) but not on their halves: it is not "
            "row-wise; compute each row from this row alone, and name the dtypes of what you make"
        ) from error


def _nothing(step: Computation) -> pl.DataFrame:
    if isinstance(step, Filter):
        return pl.DataFrame(schema={KEEP: pl.Boolean})
    return pl.DataFrame(schema=step.output.polars)


def _valid(step: Map, done: Computed, batch: int) -> Computed:
    """Take the rows out that break the contract."""
    broken = validate(step.output, done.result)
    if not broken:
        return done
    if batch >= MANY and len(broken) == batch and (fault := _always_breaks(step, broken)):
        raise PlanFailed(fault)
    kept = done.kept if done.kept is not None else _numbers(done.result)
    guilty = {row for row, _ in broken}
    stay = pl.Series([row not in guilty for row in range(done.result.height)], dtype=pl.Boolean)
    late = [(kept[row], Cause(step.stage, c.rule, c.field, c.value, c.detail)) for row, c in broken]
    return Computed(
        done.result.filter(stay), kept.filter(stay), sorted(done.failures + late, key=_row)
    )


def _always_breaks(step: Map, broken: list[tuple[int, Cause]]) -> str | None:
    """Whether all rows and all made-up rows break the contract at one place."""
    places = Counter((c.field, c.rule) for _, c in broken)
    made_up = compute(step, synthetic(step.input, MADE_UP), judged=False)
    places += Counter((c.field, c.rule) for _, c in made_up.failures)
    if len(places) > 1 or len(made_up.failures) < MADE_UP:
        return None
    field, rule = next(iter(places))
    return (
        f"{blame.home(step)}: every row that {step.name} gives breaks {step.output.name}.{field}: "
        f"{rule}, so the code is at fault; correct it and start again"
    )


def _numbers(frame: pl.DataFrame) -> pl.Series:
    return pl.int_range(frame.height, dtype=pl.UInt32, eager=True)


def _row(failure: tuple[int, Cause]) -> int:
    return failure[0]
