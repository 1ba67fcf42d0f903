"""Decodes values of a log into rows that fit a contract; what does not fit is a failure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from penstock.contract import changes, delimited, exact, fast
from penstock.contract.checks import broken, rules
from penstock.contract.documents import Problem
from penstock.contract.framing import Pieces, cut
from penstock.contract.spec import ContractSpec
from penstock.interfaces import Framing
from penstock.records import Cause

PLACE = {"_row": pl.UInt32, "_index": pl.Int64}
PLAIN = Framing()


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
        gone: What was deleted, where values are changes: the key's columns, `_row` and `_index`.
    """

    rows: pl.DataFrame
    failures: list[Failure]
    gone: pl.DataFrame = dataclasses.field(default_factory=lambda: pl.DataFrame(schema=PLACE))


def decode(spec: ContractSpec, values: pl.Series, framing: Framing = PLAIN) -> Decoded:
    """Decode values strictly: nothing is coerced, dropped or changed.

    No value can alter, split or hide another, whatever bytes it holds; a bad element of many
    is one failure and leaves its neighbours alone. Types and constraints are both checked.

    Args:
        spec: The contract.
        values: JSON documents, a Binary series without nulls.
        framing: How records lie in a value; by default a value is one record.
    """
    if framing.delimiter:
        return _delimited(spec, values, framing)
    pieces = changes.cut(spec, values) if framing.changes else cut(values, framing)
    failures = [Failure(row, index, p.cause()) for row, index, p in pieces.problems]
    rows = _documents(spec, pieces, failures)
    if pieces.parsed:
        read = partial(exact.record, fields=spec.fields)
        slow = _slow(spec, pieces.parsed, read, failures)
        rows = pl.concat([rows, slow]).sort(*PLACE)
    rows = _obeying(spec, rows, failures)
    gone = _gone(spec, pieces, failures)
    return Decoded(rows, sorted(failures, key=lambda f: (f.row, f.index)), gone)


def _delimited(spec: ContractSpec, values: pl.Series, framing: Framing) -> Decoded:
    """Decode CSV."""
    table = delimited.read(spec, values, framing)
    failures = [Failure(row, index, p.cause()) for row, index, p in table.wrong]
    places = pl.DataFrame(table.places, schema=PLACE, orient="row")
    rows = _obeying(spec, table.rows.hstack(places), failures)
    return Decoded(rows, sorted(failures, key=lambda f: (f.row, f.index)))


def _documents(spec: ContractSpec, pieces: Pieces, failures: list[Failure]) -> pl.DataFrame:
    """Decode documents by columns; a few, and those in doubt, one by one."""
    if len(pieces.documents) <= fast.FEW:
        every = zip(pieces.rows, pieces.indexes, pieces.documents, strict=True)
        return _slow(spec, every, partial(exact.decode, fields=spec.fields), failures)
    table = fast.read(spec, pieces.documents)
    unsound = [at for at in table.doubtful if not exact.sound(pieces.documents[at], spec.fields)]
    rows = table.rows
    if unsound:
        rows = rows.filter(~pl.col("_at").is_in(unsound))
    at = rows.drop_in_place("_at")
    columns = [
        pl.Series("_row", pieces.rows, pl.UInt32),
        pl.Series("_index", pieces.indexes, pl.Int64),
    ]
    whole = len(rows) == len(pieces.documents)
    placed = rows.hstack(columns if whole else [c.gather(at) for c in columns])
    if not (hard := sorted(table.refused + unsound)):
        return placed
    documents = ((pieces.rows[at], pieces.indexes[at], pieces.documents[at]) for at in hard)
    slow = _slow(spec, documents, partial(exact.decode, fields=spec.fields), failures)
    return pl.concat([placed, slow]).sort(*PLACE) if len(slow) else placed


def _slow(
    spec: ContractSpec,
    documents: Iterable[tuple[int, int, Any]],
    read: Callable[[Any], dict[str, Any]],
    failures: list[Failure],
) -> pl.DataFrame:
    """Decode one by one."""
    rows = []
    for row, index, document in documents:
        try:
            rows.append(read(document) | {"_row": row, "_index": index})
        except Problem as problem:
            failures.append(Failure(row, index, problem.cause()))
    return pl.DataFrame(rows, schema={**spec.polars, **PLACE}, orient="row")


def _gone(spec: ContractSpec, pieces: Pieces, failures: list[Failure]) -> pl.DataFrame:
    """Read the keys of what was deleted."""
    if not pieces.gone or not spec.key:
        problem = Problem("a delete, for a contract that has no key")
        failures += [Failure(row, index, problem.cause()) for row, index, _ in pieces.gone]
        return pl.DataFrame(schema=PLACE)
    shape = spec.only(spec.key)
    found = decode(shape, pl.Series([key for _, _, key in pieces.gone], dtype=pl.Binary))
    for failure in found.failures:
        row, index, _ = pieces.gone[failure.row]
        failures.append(Failure(row, index, failure.cause))
    places = [pieces.gone[at][:2] for at in found.rows["_row"]]
    at = pl.DataFrame(places, schema=PLACE, orient="row")
    return found.rows.select(spec.key).hstack(at)


def _obeying(spec: ContractSpec, rows: pl.DataFrame, failures: list[Failure]) -> pl.DataFrame:
    """Keep the rows that obey the constraints."""
    bad = broken(rows, rules(spec, domain=False))
    if not bad:
        return rows
    places = rows.select(*PLACE)
    for at, cause in bad:
        row, index = places.row(at)
        failures.append(Failure(row, index, cause))
    return rows.filter(~pl.int_range(pl.len()).is_in([at for at, _ in bad]))
