"""Decoding for a replay: many of its entries may be rows of one log record, decoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from penstock.plan import indexes
from penstock.records import WHOLE, Cause

if TYPE_CHECKING:
    from penstock.plan.run import Plan

_PLACE = ("partition", "offset")


def decoded(
    plan: Plan, entries: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, list[tuple[int, int, Cause]]]:
    """Decode the records of replay entries, each record once.

    Args:
        plan: Whose log the records are of.
        entries: Of a replay batch, with `_row`; none has a null value.

    Returns:
        The contract's columns; for each of their rows the entry's `_row` and `_index`; the keys
        of what was deleted with these two; and the rows that died as `_row`, index and cause. An
        entry gets the rows it names, no others.
    """
    records = entries.unique(_PLACE, keep="first", maintain_order=True).with_row_index("_record")
    wanted = entries.select("_row", *_PLACE, root=indexes.root(pl.col("index")))
    wanted = wanted.join(records.select("_record", *_PLACE), on=_PLACE)
    found = plan.codec.decode(plan.spec, records["value"], plan.framing)
    rows = found.rows.select(_record="_row", _index="_index").with_row_index("_number")
    hits = _matched(wanted, rows)
    at = pl.DataFrame([hits["_row"], rows["_index"][hits["_number"]]])
    data = found.rows.select(plan.spec.polars.names())[hits["_number"]]
    failed = pl.DataFrame(
        {"_record": [f.row for f in found.failures], "_index": [f.index for f in found.failures]},
        schema={"_record": pl.UInt32, "_index": pl.Int64},
    ).with_row_index("_number")
    dead = [
        (row, found.failures[number].index, found.failures[number].cause)
        for row, number in _matched(wanted, failed).iter_rows()
    ]
    gone = found.gone.with_row_index("_number")
    named = _matched(wanted, gone.select(_record="_row", _index="_index", _number="_number"))
    gone = gone[named["_number"]].with_columns(named["_row"]).drop("_number")
    return data, at, gone, dead


def _matched(wanted: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """For each entry what it names: its row or all of its record, and what failed as a whole."""
    named = wanted.join(found, left_on=["_record", "root"], right_on=["_record", "_index"])
    everything = wanted.filter(pl.col("root") == WHOLE)
    whole = everything.join(found.filter(pl.col("_index") != WHOLE), on="_record")
    rest = wanted.filter(pl.col("root") != WHOLE)
    theirs = rest.join(found.filter(pl.col("_index") == WHOLE), on="_record")
    parts = [part.select("_row", "_number") for part in (named, whole, theirs)]
    return pl.concat(parts).sort("_row", "_number")
