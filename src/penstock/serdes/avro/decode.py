"""Decodes Avro payloads into rows that fit a contract; what does not fit is a failure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from penstock.contract import ContractSpec, Failure
from penstock.contract.documents import Problem
from penstock.serdes.avro import exact, fast
from penstock.serdes.avro.parse import Schema
from penstock.serdes.avro.resolve import Node, resolve

FEW = 150
"""Up to so many payloads `exact` is faster: steps over columns cost the same for any number."""

_MOST_BYTES = 1 << 30
"""How many bytes are read at once by columns."""


def decode(
    spec: ContractSpec, schema: Schema, payloads: pl.Series
) -> tuple[pl.DataFrame, list[Failure]]:
    """Decode payloads that were written with one schema, strictly.

    Constraints are not looked at.

    Args:
        spec: The contract.
        schema: The writer's.
        payloads: A Binary series without nulls.

    Returns:
        The contract's columns and `_row`, the number of the payload, in no order; and a failure
        for each payload that gave no row.
    """
    try:
        node = resolve(schema, spec)
    except Problem as problem:
        cause = problem.cause()
        return none(spec), [Failure(row, 0, cause) for row in range(len(payloads))]
    failures: list[Failure] = []
    if not _columnar(node, payloads):
        return _slow(spec, node, enumerate(payloads.to_list()), failures), failures
    table = fast.read(node, payloads)
    rows = table.rows.with_columns(table.proven.alias("_row"))
    if len(table.proven) == len(payloads):
        return rows, failures
    hard = pl.int_range(len(payloads), dtype=pl.UInt32, eager=True)
    hard = hard.filter(~hard.is_in(table.proven.implode()))
    slow = _slow(spec, node, zip(hard, payloads.gather(hard), strict=True), failures)
    return pl.concat([rows, slow]), failures


def _columnar(node: Node, payloads: pl.Series) -> bool:
    many = len(payloads) > FEW and fast.supports(node)
    return many and payloads.bin.size().sum() < _MOST_BYTES


def _slow(
    spec: ContractSpec,
    node: Node,
    payloads: Iterable[tuple[int, bytes]],
    failures: list[Failure],
) -> pl.DataFrame:
    """Decode one by one."""
    rows = []
    for row, payload in payloads:
        try:
            rows.append(exact.decode(node, payload) | {"_row": row})
        except Problem as problem:
            failures.append(Failure(row, 0, problem.cause()))
    return _rows(spec, rows)


def none(spec: ContractSpec) -> pl.DataFrame:
    """No rows at all."""
    return _rows(spec, [])


def _rows(spec: ContractSpec, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**spec.polars, "_row": pl.UInt32}, orient="row")
