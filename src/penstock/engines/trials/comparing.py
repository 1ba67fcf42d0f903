"""Compares what two runs on the same input left behind: topics, tables, dead letters, counts.

Positions. Both runs read the same landings and foreign topics, filled alike, so their positions
are the same. A topic that the pipeline writes has offsets of its own in each log (Kafka's have
gaps), and where records of several partitions flow into one, those of different partitions come in
an order that no two runs share. So records of a topic are matched by what they hold, the n-th of
equal ones with the n-th. The position of a record of the second run is that of its match in the
first one, and so are the positions of rows and dead letters that were made of it.

Order. A topic whose writer reads one partition must have the same records in the same order. If it
reads several, the records of a key must be in the same order, unless they come from several
partitions: then their order, and which of them an upsert keeps, depends on timing. Such keys are
noted, not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import polars as pl

from penstock.records import WHOLE, Counts

Kind = Literal["record", "order", "row", "dead letter", "count", "run"]

_SHOWN = 600
"""Characters of a value that are shown."""

_RECORD = ("key", "value", "headers", "born")
_PLACE = ["partition", "offset"]
_PLACES = [*_PLACE, "partition_second", "offset_second"]
_DELIVERED = ("written", "superseded", "deleted")


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in the two runs.

    Args:
        lane: Where.
        kind: What it is.
        where: Its position, key or name.
        first: How the first run has it; empty when it has it not.
        second: The same of the second run.
    """

    lane: str
    kind: Kind
    where: str
    first: str
    second: str


@dataclass(frozen=True)
class Sameness:
    """How the records of a topic may differ in two runs.

    Args:
        ordered: Whether all records of a partition must be in the same order.
        placed: Whether a record must be in the same partition.
        origins: `key` and `origins`, of the log that the topic's writer reads: in how many
            partitions a key is.
    """

    ordered: bool = True
    placed: bool = True
    origins: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"key": pl.Binary, "origins": pl.UInt32})
    )


@dataclass(frozen=True)
class Matched:
    """Two runs' records of a topic.

    Args:
        differences: What is not the same.
        places: `partition` and `offset` of the second run's records, `partition_first` and
            `offset_first` of their matches; an offset below 0 is no match's.
        racing: Keys whose records' order depends on timing.
    """

    differences: Sequence[Difference]
    places: pl.DataFrame
    racing: pl.Series


def topics(lane: str, first: pl.DataFrame, second: pl.DataFrame, allowed: Sameness) -> Matched:
    """Match the records of a topic, and compare their order.

    Args:
        lane: That writes it.
        first: `remains.TOPIC`.
        second: The same of the other run.
        allowed: What need not be the same.
    """
    by = [*_RECORD, *(["in"] if allowed.placed else [])]
    joined = _numbered(first, by).join(
        _numbered(second, by), on=[*by, "nth"], how="full", suffix="_second", nulls_equal=True,
        coalesce=True,
    )  # fmt: skip
    both = joined.drop_nulls(["offset", "offset_second"]).sort("partition_second", "offset_second")
    pairs = _paired(joined)
    turned = _turned(both, ["partition", "key"] if allowed.placed else ["key"]).join(
        allowed.origins, on="key", how="left", nulls_equal=True
    )
    one_origin = pl.col("origins") == 1
    found = list(_unmatched(lane, pairs))
    if allowed.ordered:
        found += _disorder(lane, _turned(both, ["partition"]))
    else:
        found += _disorder(lane, turned.filter(one_origin, pl.col("key").is_not_null()))
    racing = turned.filter(~one_origin.fill_null(value=False))["key"].drop_nulls().unique()
    places = pl.concat([both.select(_PLACES), pairs.select(_PLACES)])
    return Matched(found, _mapped(places), racing.clear() if allowed.ordered else racing)


def _mapped(places: pl.DataFrame) -> pl.DataFrame:
    """From each place of the second run to the one of its match."""
    return places.drop_nulls("offset_second").select(
        partition="partition_second",
        offset="offset_second",
        partition_first=pl.coalesce("partition", "partition_second"),
        offset_first=pl.coalesce("offset", -1 - pl.col("offset_second")),
    )


def _nth(by: Sequence[str]) -> pl.Expr:
    return pl.int_range(pl.len()).over(by)


def _numbered(records: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Number equal records in their order."""
    with_place = records.with_columns(pl.col("partition").alias("in")).sort(_PLACE)
    nth = _nth(by)
    return with_place.with_columns(nth=nth).select(*by, *_PLACE, "nth")


def _turned(both: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Records that come before one that they follow in the first run, of the same group."""
    at = pl.col("offset")
    return both.filter(at < at.cum_max().over(by))


def _disorder(lane: str, turned: pl.DataFrame) -> Iterator[Difference]:
    for row in turned.iter_rows(named=True):
        first = f"offset {row['offset']}"
        second = f"offset {row['offset_second']}, behind records that follow it there"
        yield Difference(lane, "order", _record_at(row, row["partition"]), first, second)


def _paired(joined: pl.DataFrame) -> pl.DataFrame:
    """Put what only one run has beside what only the other has of the same partition and key."""
    lost = joined.filter(pl.col("offset_second").is_null())
    gained = joined.filter(pl.col("offset").is_null())
    by = ["in", "key"]
    left = lost.select(pl.col("partition").alias("in"), *_RECORD, *_PLACE)
    right = gained.select(
        pl.col("partition_second").alias("in"),
        *_RECORD,
        pl.col("partition_second", "offset_second").name.map(lambda name: name.split("_")[0]),
    )
    left, right = (one.sort(_PLACE).with_columns(nth=_nth(by)) for one in (left, right))
    pairs = left.join(
        right, on=[*by, "nth"], how="full", suffix="_second", nulls_equal=True, coalesce=True
    )
    return pairs.sort("in", "offset", "offset_second", nulls_last=True)


def _unmatched(lane: str, pairs: pl.DataFrame) -> Iterator[Difference]:
    for row in pairs.iter_rows(named=True):
        first = None if row["offset"] is None else _record(row, "")
        second = None if row["offset_second"] is None else _record(row, "_second")
        yield Difference(lane, "record", _record_at(row, row["in"]), *_pair(first, second))


def _record(row: Mapping[str, Any], side: str) -> dict[str, Any]:
    found = {"value": _document(row[f"value{side}"]), "born": str(row[f"born{side}"])}
    headers = row[f"headers{side}"]
    return found | ({} if headers is None else {"headers": json.loads(headers)})


def _record_at(row: Mapping[str, Any], partition: int) -> str:
    key = "no key" if row["key"] is None else f"key {_text(row['key'])}"
    return f"partition {partition}, {key}"


def moved(rows: pl.DataFrame, places: pl.DataFrame | None) -> pl.DataFrame:
    """Give what was made of a topic's records the positions of their matches.

    Args:
        rows: Of the second run, with `partition` and `offset`.
        places: As `Matched` has them; None for a log whose positions are the same in both.
    """
    if places is None:
        return rows
    known = rows.join(places, on=_PLACE, how="left", maintain_order="left")
    return known.with_columns(
        partition=pl.coalesce("partition_first", "partition"),
        offset=pl.coalesce("offset_first", "offset"),
    ).select(rows.columns)


def tables(lane: str, first: pl.DataFrame, second: pl.DataFrame) -> Iterator[Difference]:
    """Compare the rows of a table.

    Args:
        lane: That writes it.
        first: `remains.APPENDED` or `remains.UPSERTED`.
        second: The same of the other run, `moved`.
    """
    for row in _differing(first, second, [n for n in first.columns if n != "value"]):
        where = f"key {_text(row['key'])}" if "key" in row else f"position {_position(row)}"
        given, other = (
            None if row[one] is None else _document(row[one]) for one in ("value", "value_second")
        )
        yield Difference(lane, "row", where, *_pair(given, other))


def letters(first: pl.DataFrame, second: pl.DataFrame) -> Iterator[Difference]:
    """Compare dead letters.

    Args:
        first: `remains.LETTERS`.
        second: The same of the other run, `moved`.
    """
    by = ["segment", "lane", "partition", "offset", "index"]
    told = [name for name in first.columns if name not in by]
    for row in _differing(first, second, by):
        given, other = (
            None if row[f"state{side}"] is None else {n: row[f"{n}{side}"] for n in told}
            for side in ("", "_second")
        )
        where = f"position {_position(row)} of {row['segment']}"
        yield Difference(row["lane"], "dead letter", where, *_pair(given, other))


def counts(lane: str, first: Counts, second: Counts, *, upsert: bool) -> Iterator[Difference]:
    """Compare what became of a lane's records.

    Args:
        lane: Which.
        first: Of the first run.
        second: Of the second one.
        upsert: Whether the lane replaces rows: which of two are superseded depends on the bounds
            of micro-batches, so only the sum of what was delivered is compared.
    """
    names = [one.name for one in fields(Counts) if one.name != "absent"]
    if upsert:
        names = [name for name in names if name not in _DELIVERED]
        delivered = [sum(getattr(one, name) for name in _DELIVERED) for one in (first, second)]
        if delivered[0] != delivered[1]:
            what = " + ".join(_DELIVERED)
            yield Difference(lane, "count", what, str(delivered[0]), str(delivered[1]))
    for name in names:
        found, other = getattr(first, name), getattr(second, name)
        if found != other:
            yield Difference(lane, "count", name, str(found), str(other))


def _differing(
    first: pl.DataFrame, second: pl.DataFrame, by: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows that only one run has, or that are not the same; a row that is there twice counts."""
    nth = _nth(by)
    values = [name for name in first.columns if name not in by]
    joined = first.sort(by).with_columns(nth=nth).join(
        second.sort(by).with_columns(nth=nth), on=[*by, "nth"], how="full", suffix="_second",
        nulls_equal=True, coalesce=True,
    )  # fmt: skip
    same = [pl.col(name).eq_missing(pl.col(f"{name}_second")) for name in values]
    yield from joined.filter(~pl.all_horizontal(same)).sort(by).iter_rows(named=True)


def _position(row: Mapping[str, Any]) -> str:
    index = "" if row["index"] == WHOLE else f":{row['index']}"
    if row["offset"] < 0:
        return f"{row['partition']}:{-1 - row['offset']}{index} (of the second run)"
    return f"{row['partition']}:{row['offset']}{index}"


def _document(value: bytes | None) -> Any:
    """A JSON document as an object; other bytes as text, a delete as its word."""
    if value is None:
        return "(a delete)"
    try:
        return json.loads(value)
    except ValueError:
        return _text(value)


def _pair(first: Any, second: Any) -> tuple[str, str]:
    """Two values, without the members in which they are the same."""
    while isinstance(first, dict) and isinstance(second, dict):
        names = [n for n in {**first, **second} if first.get(n, ...) != second.get(n, ...)]
        if names == ["value"] and "born" in first:
            first, second = first["value"], second["value"]
            continue
        first, second = ({n: one[n] for n in names if n in one} for one in (first, second))
        break
    return _shown(first), _shown(second)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    left = len(words) - _SHOWN
    return f"{words[:_SHOWN]}… ({left} characters more)" if left > 0 else words


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
