"""The row-wise check: the same rows whole, again, in parts and in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from penstock.contract import ContractSpec, synthetic
from penstock.contract.checks import rules
from penstock.errors import PlanFailed
from penstock.plan import blame, isolate
from penstock.site import Site
from penstock.transforms import Computation

MADE_UP = 64
MOST = 2000
SHOWN = 2
LONGEST = 300
_SINGLES = 8


def difference(step: Computation, rows: pl.DataFrame) -> str | None:
    """Find out whether a row's result depends on anything but this row.

    Args:
        step: The map or filter.
        rows: Rows that it does not fail on.

    Returns:
        What differs, with two rows shown; None when nothing does.
    """
    rows = rows.head(MOST)
    if rows.is_empty():
        return None
    try:
        return _difference(step, rows)
    except MemoryError:
        raise
    except blame.FAULTS as error:
        return (
            f"{blame.place(step, error)}: {step.name} fails on these {rows.height} rows in some "
            f"order or part and not in another ({type(error).__name__}: {blame.words(error)}); "
            f"it must be row-wise: a row's result must come from this row alone"
        )


def check(step: Computation) -> str | None:
    """Run a step on made-up rows; return what is wrong with its code, if anything is.

    Made-up text may be no date, say; that a step fails on some of it proves nothing.
    """
    if (error := isolate.fails_always(step)) is not None:
        return (
            f"{blame.place(step, error)}: {step.name} fails on every made-up row: "
            f"{type(error).__name__}: {blame.words(error)}; correct it"
        )
    rows = synthetic(step.input, MADE_UP)
    try:
        good = isolate.compute(step, rows, judged=False).good(rows)
    except PlanFailed as error:
        return str(error)
    return difference(step, good)


def check_rules(spec: ContractSpec) -> str | None:
    """Find out whether a `Check` of a contract looks at more than the row that it judges."""
    if not rules(spec, domain=False):
        return None
    bare = replace(spec, fields=tuple(replace(field, constraints=()) for field in spec.fields))
    step = _Rules(Site(spec.file, spec.line), bare, spec)
    rows = synthetic(bare, MADE_UP)
    return difference(step, rows) if isinstance(isolate.attempt(step, rows), pl.DataFrame) else None


@dataclass(frozen=True)
class _Rules:
    """The constraints of a contract as a computation: which rules each row breaks."""

    site: Site
    input: ContractSpec
    output: ContractSpec

    stage = "contract"

    @property
    def name(self) -> str:
        return f"a constraint of {self.output.name}"

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        found = rules(self.output, domain=False)
        broken = {f"{n} {rule.field}: {rule.words}": rule.bad for n, rule in enumerate(found)}
        return rows.with_columns(**broken).select(broken.keys())


def _difference(step: Computation, rows: pl.DataFrame) -> str | None:
    whole = step.compute(rows)
    again = step.compute(rows)
    if not _same(whole, again):
        why = (
            "gives another result when it runs again: it must not use a clock or chance, "
            "nor an order that is not fixed, such as that of group_by"
        )
        return _told(step, why, rows, (whole, again), "the second time")
    why = "is not row-wise: a row's result must come from this row alone"
    parts = pl.concat([step.compute(part) for part in _parts(rows)])
    if not _same(whole, parts):
        return _told(step, why, rows, (whole, parts), "in a smaller part")
    order = pl.int_range(rows.height, eager=True).shuffle(seed=1)
    mixed = step.compute(rows[order])[order.arg_sort()]
    if not _same(whole, mixed):
        return _told(step, why, rows, (whole, mixed), "in another order")
    return None


def _parts(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The first few rows each alone, then the rest in two pieces."""
    singles = min(_SINGLES, rows.height)
    yield from rows[:singles].iter_slices(1)
    rest = rows[singles:]
    for part in (rest[: rest.height // 3], rest[rest.height // 3 :]):
        if part.height:
            yield part


def _same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.height == other.height and one.equals(other, null_equal=True)


def _told(
    step: Computation,
    why: str,
    rows: pl.DataFrame,
    results: tuple[pl.DataFrame, pl.DataFrame],
    other: str,
) -> str:
    lines = [f"{blame.home(step)}: {step.name} {why}"]
    pairs = zip(
        rows.iter_rows(named=True), *(r.iter_rows(named=True) for r in results), strict=True
    )
    # by repr, in which NaN is NaN
    differing = [(row, a, b) for row, a, b in pairs if repr(a) != repr(b)]
    for row, in_whole, apart in differing[:SHOWN]:
        changed = [name for name in in_whole if repr(in_whole[name]) != repr(apart[name])]
        lines += [
            f"  the row {_show(row)}",
            f"    among all {rows.height} rows gives {_show({n: in_whole[n] for n in changed})}",
            f"    {other} gives {_show({n: apart[n] for n in changed})}",
        ]
    return "\n".join(lines)


def _show(row: dict[str, object]) -> str:
    text = ", ".join(f"{name}={value!r}" for name, value in row.items())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
