"""Compares the rows in the stores with what the plan makes of the log (`reconcile --deep`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import polars as pl

from penstock.contract import encode, encode_key
from penstock.engines.reconciling import deep_topics
from penstock.engines.reconciling.rowset import SCHEMA, RowSet, differences
from penstock.engines.reconciling.standing import STILL_DEAD, Compared, Standing
from penstock.errors import Refused
from penstock.plan import MicroBatch
from penstock.records import WHOLE, Limits, Span

if TYPE_CHECKING:
    from penstock.engines.feed import Feed
    from penstock.interfaces import Forgetful, Sink
    from penstock.plan import Lane, Segment

LIMITS = Limits(records=20_000, bytes=8 << 20)

_AT = {"partition": "_partition", "offset": "_offset", "index": "_index"}


def compare(
    segment: Segment,
    feed: Feed,
    standings: Sequence[Standing],
    bases: Mapping[int, int],
    progress: Callable[[int], None] = lambda records: None,
) -> dict[str, Compared]:
    """Run the plan over the log once, and compare every lane's rows with what it wrote.

    Args:
        segment: Whose plan and log.
        feed: Reads the log.
        standings: The lanes.
        bases: Order bases of the log's partitions.
        progress: Told how many records were read.
    """
    with ExitStack() as stack:
        expected = {s.lane.name: stack.enter_context(RowSet(_schema(s))) for s in standings}
        for batch in _batches(feed, standings):
            progress(batch.records.height)
            outcome = segment.plan.run(batch, list(expected))
            for standing in standings:
                rows = _due(standing, outcome.lanes[standing.lane.name].rows)
                expected[standing.lane.name].add(_fingerprints(standing, rows))
        return {
            s.lane.name: deep_topics.compare(segment, feed, s, s.written, expected[s.lane.name])
            if s.written
            else _lane(s, expected[s.lane.name], bases)
            for s in standings
        }


def _schema(standing: Standing) -> pl.Schema:
    return deep_topics.EXPECTED if standing.written else SCHEMA


def _batches(feed: Feed, standings: Sequence[Standing]) -> Iterator[MicroBatch]:
    """Read the log up to where the foremost lane stands, without records that kill."""
    starts = feed.oldest()
    ends = {p: max(s.ends.get(p, 0) for s in standings) for p in starts}
    killers = pl.concat([s.letters for s in standings]).filter(pl.col("rule").str.contains("died"))
    while starts := {p: start for p, start in starts.items() if start < ends[p]}:
        batch = feed.read(starts, LIMITS)
        if batch is None:
            return
        yield MicroBatch(
            batch.spans, batch.records.join(killers, on=["partition", "offset"], how="anti")
        )
        starts.update({p: span.end for p, span in batch.spans.items()})


def _due(standing: Standing, rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows that were written and can be compared, without those that are still dead."""
    within = pl.lit(False)
    for partition, end in standing.ends.items():
        within |= (pl.col("_partition") == partition) & (pl.col("_offset") < end)
    doubted = _in_spans(standing.doubtful, pl.col("_partition"), pl.col("_offset"))
    dead = standing.letters.filter(pl.col("state").is_in(_absent(standing)))
    whole = dead.filter(pl.col("index") == WHOLE)
    return (
        rows.filter(within & ~doubted)
        .join(dead, left_on=list(_AT.values()), right_on=list(_AT), how="anti")
        .join(
            whole, left_on=["_partition", "_offset"], right_on=["partition", "offset"], how="anti"
        )
    )


def _absent(standing: Standing) -> list[str]:
    """Letters in these states have no rows; a topic may have got those that replay meanwhile."""
    meanwhile = standing.written and standing.moving
    return [state for state in STILL_DEAD if not (meanwhile and state == "replaying")]


def _fingerprints(standing: Standing, rows: pl.DataFrame) -> pl.DataFrame:
    if standing.written:
        return deep_topics.expected(standing, standing.written, rows)
    lane = standing.lane
    replayed = standing.letters.filter(pl.col("state") == "replayed").select("partition", "offset")
    places = replayed.unique().with_columns(pl.lit(standing.loose).alias("loose"))
    return (
        rows.select(
            _key(lane, rows),
            pl.when(pl.col("_deleted"))
            .then(pl.lit(0, pl.UInt64))
            .otherwise(_value(lane, rows))
            .alias("value"),
            (pl.col("_order") if lane.mode == "upsert" else pl.lit(0, pl.Int64)).alias("order"),
            *(pl.col(column).alias(name) for name, column in _AT.items()),
            pl.col("_deleted").alias("deleted"),
        )
        .join(places, on=["partition", "offset"], how="left")
        .with_columns(pl.col("loose").fill_null(False))
        .select(list(SCHEMA))
    )


def _lane(standing: Standing, expected: RowSet, bases: Mapping[int, int]) -> Compared:
    result = Compared()
    try:
        _compare(standing, expected, bases, result)
    except Refused as error:
        store = standing.lane.store
        result.differences.append(
            f"table {standing.lane.table!r} of store {store!r} cannot be read: {error}"
        )
    return result


def _forgotten(sink: Sink) -> str:
    """Say why a store may lack rows that were written to it; empty when it keeps all."""
    return cast("Forgetful", sink).forgotten() if sink.capabilities.forgets else ""


def _compare(
    standing: Standing, expected: RowSet, bases: Mapping[int, int], result: Compared
) -> None:
    with RowSet() as found:
        for frame in standing.sink.positions():
            kept = _found(standing, frame, bases)
            result.doubtful += frame.height - kept.height
            found.add(kept)
        result.rows = found.rows
        why = _forgotten(standing.sink)
        gone = 0
        for different in differences(expected, found):
            real = _excused(standing, different, bases)
            if why:
                kept = real.filter(pl.col("order_found").is_not_null())
                gone += real.height - kept.height
                real = kept
            if real.height:
                result.differences.append(_words(standing, real.row(0, named=True)))
                break
        if gone:
            result.notes.append(
                f"lane {standing.lane.name}: {gone} rows that were written are no longer there, as "
                f"{why}; they are checked by count only"
            )


def _found(standing: Standing, rows: pl.DataFrame, bases: Mapping[int, int]) -> pl.DataFrame:
    """Fingerprint the rows of a store, without those that nothing can be said about."""
    lane = standing.lane
    if lane.mode == "upsert":
        order = pl.col("_order")
        rows = rows.filter(~_order_in(standing, order, bases))
        if standing.anew:
            rows = rows.filter(order >= min(bases.values()))
    else:
        order = pl.lit(0, pl.Int64)
        at = pl.col("_partition"), pl.col("_offset")
        beyond = pl.lit(False)
        for partition, end in standing.ends.items():
            beyond |= (at[0] == partition) & (at[1] >= end)
        rows = rows.filter(~beyond & ~_in_spans(standing.doubtful, *at))
    nothing = pl.lit(None, pl.Int64)
    return rows.select(
        _key(lane, rows),
        _value(lane, rows).alias("value"),
        order.alias("order"),
        nothing.cast(pl.Int32).alias("partition"),
        nothing.alias("offset"),
        nothing.alias("index"),
        pl.lit(False).alias("deleted"),
        pl.lit(False).alias("loose"),
    )


def _key(lane: Lane, rows: pl.DataFrame) -> pl.Series:
    if lane.mode == "upsert":
        return encode_key(lane.spec, lane.key, rows).hash(1).alias("key")
    return rows.select(pl.struct("_partition", "_offset", "_index").hash(1).alias("key"))["key"]


def _value(lane: Lane, rows: pl.DataFrame) -> pl.Series:
    return encode(lane.spec, rows.select(list(lane.spec.polars))).hash(2)


def _in_spans(spans: Mapping[int, Sequence[Span]], partition: pl.Expr, offset: pl.Expr) -> pl.Expr:
    inside = pl.lit(False)
    for number, some in spans.items():
        for span in some:
            inside |= (partition == number) & (offset >= span.start) & (offset < span.end)
    return inside


def _order_in(standing: Standing, order: pl.Expr, bases: Mapping[int, int]) -> pl.Expr:
    """Whether a row may come from a doubtful span, or from behind what is compared."""
    inside = pl.lit(False)
    for partition, spans in standing.doubtful.items():
        for span in spans:
            start, end = bases[partition] + span.start, bases[partition] + span.end
            inside |= (order >= start) & (order < end)
    return inside


def _excused(standing: Standing, different: pl.DataFrame, bases: Mapping[int, int]) -> pl.DataFrame:
    """Drop differences that come from doubtful spans, or from what was written meanwhile."""
    if standing.lane.mode != "upsert":
        return different
    latest = min((bases[p] + end for p, end in standing.ends.items() if p in bases), default=0)
    meanwhile = pl.lit(standing.moving) & (pl.col("order_found") >= latest)
    doubt = pl.lit(bool(standing.doubtful)) & pl.col("order_found").is_null()
    return different.filter(~(meanwhile | doubt).fill_null(False))


def _words(standing: Standing, row: Mapping[str, object]) -> str:
    where = f"position ({row['partition']}, {row['offset']}, {row['index']})"
    table = f"table {standing.lane.table!r} of store {standing.lane.store!r}"
    if row["order_found"] is None:
        return f"{table} lacks the row of {where}"
    if row["order"] is None:
        return f"{table} has a row (order stamp {row['order_found']}) that the log does not give"
    if row["order"] != row["order_found"]:
        return (
            f"{table}: the row of {where} has order stamp {row['order']} by the log, "
            f"{row['order_found']} in the table"
        )
    return f"{table}: the row of {where} has other values, or is there twice"
