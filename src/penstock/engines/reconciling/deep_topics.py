"""Compares the records of a topic with what the plan makes of the log that its writer read.

A record of a topic does not say where it comes from, so that the two are compared as sets in which
a record may be several times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from penstock.contract import encode, encode_key
from penstock.engines.reconciling.rowset import BUCKETS, RowSet
from penstock.engines.reconciling.standing import Compared, Standing, Written
from penstock.errors import LogChanged
from penstock.logs import staging
from penstock.logs.paging import pages
from penstock.records import Span

if TYPE_CHECKING:
    from penstock.engines.feed import Feed
    from penstock.plan import Lane, Segment

EXPECTED = pl.Schema(
    {
        "key": pl.UInt64,
        "partition": pl.Int32,
        "offset": pl.Int64,
        "index": pl.Int64,
        "sure": pl.Boolean,
        "replayed": pl.Boolean,
    }
)
"""A record that the topic should hold: a hash of it, where it comes from, whether it was there
for sure when the topic was read, and whether it may stand behind later ones."""

_FOUND = pl.Schema({"key": pl.UInt64, "in_partition": pl.Int32, "at": pl.Int64})

_Place = tuple[int, int]
"""Offset and index: what follows within a partition has a greater one."""

_NEVER: _Place = ((1 << 63) - 1, 0)
_SHOWN = 80
"""Characters of a key that are shown."""


@dataclass(frozen=True)
class Differing:
    """A bucket's records, each beside the one that it is; null where there is none."""

    joined: pl.DataFrame

    @property
    def missing(self) -> pl.DataFrame:
        """Records that the log gives and the topic lacks."""
        return self.joined.filter(pl.col("at").is_null(), pl.col("sure"))

    @property
    def surplus(self) -> pl.DataFrame:
        """Records of the topic that the log does not give, or not as often."""
        return self.joined.filter(pl.col("offset").is_null())


def expected(standing: Standing, written: Written, rows: pl.DataFrame) -> pl.DataFrame:
    """Fingerprint rows that the topic should hold.

    Args:
        standing: The lane.
        written: Its topic.
        rows: Of the plan; none of them is dead.
    """
    lane = standing.lane
    places = standing.letters.filter(pl.col("state").is_in(["replayed", "replaying"]))
    replayed = places.select("partition", "offset", replayed=True).unique()
    sure = pl.lit(False)
    for partition, end in written.sure.items():
        sure |= (pl.col("partition") == partition) & (pl.col("offset") < end)
    if standing.moving or standing.loose:
        sure &= ~pl.col("replayed")
    deleted = rows["_deleted"].fill_null(value=False)
    document = encode(lane.spec, rows.select(list(lane.spec.polars)))
    return (
        rows.select(
            _hash(_keys(lane, rows), _unless(deleted, document)),
            partition="_partition",
            offset="_offset",
            index="_index",
        )
        .join(replayed, on=["partition", "offset"], how="left", maintain_order="left")
        .with_columns(pl.col("replayed").fill_null(value=False))
        .with_columns(sure=sure)
        .select(EXPECTED.names())
    )


def compare(
    segment: Segment, feed: Feed, standing: Standing, written: Written, wanted: RowSet
) -> Compared:
    """Compare a topic with what it should hold.

    Args:
        segment: Whose plan gave it.
        feed: Reads the log that the plan reads.
        standing: The lane.
        written: Its topic.
        wanted: Fingerprints of `EXPECTED`.
    """
    result = Compared()
    words = _Words(segment, feed, standing.lane, written)
    unsigned = 0
    with RowSet(_FOUND) as found:
        try:
            for records in pages(written.topic):
                own = _own(written, records)
                unsigned += own.filter(~staging.is_signed(pl.col("headers"))).height
                found.add(_found(standing.lane, own))
        except LogChanged as error:
            result.differences.append(str(error))
            return result
        result.rows = found.rows
        bounds = _bounds(written, wanted, found)
        strange = standing.lane.shared and unsigned > 0
        _judge(standing, words, _Sides(wanted, found, bounds, strange), result)
    return result


@dataclass(frozen=True)
class _Sides:
    wanted: RowSet
    found: RowSet
    bounds: Mapping[int, _Place]
    strange: bool
    """Whether the topic has several writers, and records that do not say which one's they are."""

    def differing(self) -> Iterator[Differing]:
        return _differing(self.wanted, self.found)


def _judge(standing: Standing, words: _Words, sides: _Sides, result: Compared) -> None:
    first_missing: list[dict[str, Any]] = []
    first_surplus: list[dict[str, Any]] = []
    gone = unknown = 0
    unsure = bool(standing.doubtful) or standing.loose or standing.anew or sides.strange
    for differing in sides.differing():
        missing = differing.missing
        lost = missing.filter(_kept(standing, sides.bounds))
        gone += missing.height - lost.height
        first_missing = _least(first_missing, lost, ["partition", "offset", "index"])
        if unsure:
            unknown += differing.surplus.height
        else:
            first_surplus = _least(first_surplus, differing.surplus, ["in_partition", "at"])
    result.differences += [words.missing(row) for row in first_missing]
    result.differences += [words.surplus(row) for row in first_surplus]
    about = f"lane {standing.lane.name}: topic {standing.lane.table!r}"
    if gone:
        result.notes.append(
            f"{about} no longer holds {gone} of the records that were written to it, as retention, "
            "compaction or its being made anew explains; the others were compared"
        )
    if unknown:
        result.doubtful = unknown
        result.notes.append(
            f"{about} holds {unknown} records that are checked by count only, as they were written "
            "before the topic had several writers, or the log or program that they come from is "
            "no longer there"
        )


def _kept(standing: Standing, bounds: Mapping[int, _Place]) -> pl.Expr:
    """Whether nothing explains that a record is missing."""
    if standing.written is None or not standing.written.keeps:
        return pl.lit(False)
    if not bounds:
        return pl.lit(True)
    behind = pl.lit(False)
    for partition, (offset, index) in bounds.items():
        later = (pl.col("offset") == offset) & (pl.col("index") > index)
        later |= pl.col("offset") > offset
        behind |= (pl.col("partition") == partition) & later
    return behind & ~pl.col("replayed")


def _bounds(written: Written, wanted: RowSet, found: RowSet) -> dict[int, _Place]:
    """For each partition of the log the place behind which retention took nothing.

    Records of one partition stand in the topic in its order, so that what follows one that is
    still there is there, too. Empty: retention took nothing at all.
    """
    cut = [partition for partition, span in written.spans.items() if span.start > 0]
    if not cut:
        return {}
    kept: dict[tuple[int, int], _Place] = {}
    for differing in _differing(wanted, found):
        alone = differing.joined.filter(pl.len().over("key") == 1)
        there = alone.drop_nulls(["at", "offset"]).filter(~pl.col("replayed"))
        least = there.sort("offset", "index").unique(
            ["partition", "in_partition"], keep="first", maintain_order=True
        )
        columns = ("partition", "in_partition", "offset", "index")
        for source, target, *place in least.select(columns).iter_rows():
            before = kept.get((source, target), _NEVER)
            kept[source, target] = min((place[0], place[1]), before)
    return {
        source: max(kept.get((source, target), _NEVER) for target in cut) for source in written.sure
    }


def _differing(wanted: RowSet, found: RowSet) -> Iterator[Differing]:
    number = pl.int_range(pl.len()).over("key").alias("number")
    for bucket in range(BUCKETS):
        # Of equal records the oldest is the missing one, and what may be missing after all others.
        order = ["sure", "replayed", "partition", "offset", "index"]
        descending = [True, False, True, True, True]
        these = wanted.bucket(bucket).sort(order, descending=descending).with_columns(number)
        those = found.bucket(bucket).sort("in_partition", "at").with_columns(number)
        yield Differing(these.join(those, on=["key", "number"], how="full", coalesce=True))


def _least(first: list[dict[str, Any]], rows: pl.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    rows = rows.sort(by).head(1)
    both = first + rows.to_dicts()
    return sorted(both, key=lambda row: [row[name] for name in by])[:1]


def _own(written: Written, records: pl.DataFrame) -> pl.DataFrame:
    """The records that are to be compared, without those that others say they have written."""
    within = pl.lit(False)
    for partition, span in written.spans.items():
        within |= (pl.col("partition") == partition) & (pl.col("offset") < span.end)
    others = staging.is_signed(pl.col("headers")) & (pl.col("headers") != written.signed)
    return records.filter(within & ~others)


def _found(lane: Lane, records: pl.DataFrame) -> pl.DataFrame:
    lane.codec.prepare(records)
    there = records.with_row_index("_row").filter(pl.col("value").is_not_null())
    rows = lane.codec.decode(lane.spec, there["value"]).rows
    document = encode(lane.spec, rows.select(list(lane.spec.polars)))
    read = pl.DataFrame({"_row": there["_row"].gather(rows["_row"]), "document": document})
    all_of_them = records.with_row_index("_row").join(
        read, on="_row", how="left", maintain_order="left"
    )
    values = all_of_them.select(pl.coalesce("document", "value")).to_series()
    return all_of_them.select(
        _hash(all_of_them["key"], values), in_partition="partition", at="offset"
    )


def _keys(lane: Lane, rows: pl.DataFrame) -> pl.Series:
    if lane.key:
        return encode_key(lane.spec, lane.key, rows)
    return pl.repeat(None, rows.height, dtype=pl.Binary, eager=True)


def _unless(deleted: pl.Series, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(~pl.lit(deleted)).then(pl.lit(values))).to_series()


def _hash(keys: pl.Series, values: pl.Series) -> pl.Series:
    return pl.DataFrame({"k": keys, "v": values}).hash_rows(3).alias("key")


class _Words:
    def __init__(self, segment: Segment, feed: Feed, lane: Lane, written: Written) -> None:
        self._segment = segment
        self._feed = feed
        self._lane = lane
        self._written = written

    def missing(self, row: Mapping[str, Any]) -> str:
        place = row["partition"], row["offset"], row["index"]
        batch = self._feed.reread({place[0]: Span(place[1], place[1] + 1)})
        rows = self._segment.plan.run(batch, [self._lane.name]).lanes[self._lane.name].rows
        keys = _keys(self._lane, rows.filter(pl.col("_index") == place[2]))
        return (
            f"topic {self._lane.table!r} lacks the record of position {place}{_key(keys)}, or has "
            "another value for it"
        )

    def surplus(self, row: Mapping[str, Any]) -> str:
        partition, offset = row["in_partition"], row["at"]
        keys = self._written.topic.reread({partition: Span(offset, offset + 1)}).records["key"]
        what = (
            "once more than the log gives it"
            if row["number"]
            else "that the log does not give: somebody else wrote it, or it is not as it was"
        )
        return (
            f"topic {self._lane.table!r} has at offset {offset} of partition {partition} a record"
            f"{_key(keys)} {what}"
        )


def _key(keys: pl.Series) -> str:
    if not keys.len() or keys[0] is None:
        return ""
    text = bytes(keys[0]).decode(errors="backslashreplace")
    return f" with key {text[:_SHOWN] + '…' * (len(text) > _SHOWN)!r}"
