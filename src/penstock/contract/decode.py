"""Decodes values of a log into rows that fit a contract; what does not fit is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.contract.checks import broken, rules
from penstock.contract.exact import Pairs, Problem, parse, record
from penstock.contract.spec import ContractSpec
from penstock.interfaces import WHOLE, Cause, Framing

PLACE = {"_row": pl.UInt32, "_index": pl.Int64}


@dataclass(frozen=True)
class Failure:
    """A value, or an element of one, that is no record.

    Args:
        row: Index into the values that were decoded.
        index: The element's number, or `WHOLE`.
        cause: Field, rule and value.
    """

    row: int
    index: int
    cause: Cause


@dataclass(frozen=True)
class Decoded:
    """What came of decoding.

    Args:
        rows: The contract's columns, `_row` (index into the values) and `_index` (number of the
            element in its value), sorted by these two.
        failures: One for each record that is dead, sorted likewise.
    """

    rows: pl.DataFrame
    failures: list[Failure]


def decode(spec: ContractSpec, values: pl.Series, framing: Framing | None = None) -> Decoded:
    """Decode values strictly: nothing is coerced, dropped or changed.

    No value can alter, split or hide another, whatever bytes it holds; a bad element of many
    is one failure and leaves its neighbours alone. Types and constraints are both checked.

    Args:
        spec: The contract.
        values: JSON documents, a Binary series without nulls.
        framing: How records lie in a value; by default a value is one record.
    """
    rows: list[dict[str, Any]] = []
    failures: list[Failure] = []
    for number, value in enumerate(values.to_list()):
        try:
            for index, element in _elements(value, framing or Framing()):
                try:
                    row = record(element() if callable(element) else element, spec.fields)
                    rows.append(row | {"_row": number, "_index": index})
                except Problem as problem:
                    failures.append(Failure(number, index, problem.cause()))
        except Problem as problem:
            failures.append(Failure(number, WHOLE, problem.cause()))
    frame = pl.DataFrame(rows, schema={**spec.polars, **PLACE}, orient="row")
    return _checked(spec, frame, failures)


def _elements(value: bytes, framing: Framing) -> Iterator[tuple[int, Any]]:
    if framing.lines:
        lines = value.split(b"\n")
        for number, line in enumerate(lines[:-1] if not lines[-1] else lines):
            yield number, lambda line=line: parse(line)
        return
    found = parse(value)
    for name in framing.path:
        if not isinstance(found, Pairs):
            raise Problem("expected an object", found, name)
        matches = [v for k, v in found if k == name]
        if len(matches) != 1:
            raise Problem("duplicate key" if matches else "the field is missing", None, name)
        found = matches[0]
    if not framing.many:
        yield 0, found
    elif isinstance(found, list) and not isinstance(found, Pairs):
        yield from enumerate(found)
    else:
        raise Problem("expected a list of records", found, ".".join(framing.path))


def _checked(spec: ContractSpec, frame: pl.DataFrame, failures: list[Failure]) -> Decoded:
    bad = broken(frame, rules(spec, domain=False))
    if bad:
        places = frame.select(*PLACE)
        for row, cause in bad:
            number, index = places.row(row)
            failures.append(Failure(number, index, cause))
        frame = (
            frame.with_row_index("_at")
            .filter(~pl.col("_at").is_in([r for r, _ in bad]))
            .drop("_at")
        )
    return Decoded(frame, sorted(failures, key=lambda f: (f.row, f.index)))
