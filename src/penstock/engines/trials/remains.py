"""What a run left behind, in a form in which two runs can be compared: see `comparing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from penstock.contract import encode, encode_key
from penstock.home import ledger
from penstock.logs import staging
from penstock.logs.paging import pages
from penstock.records import Counts, LaneKey

if TYPE_CHECKING:
    from penstock.engines.systems import Systems
    from penstock.plan import Lane, Segment

TOPIC = pl.Schema(
    {
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "key": pl.Binary(),
        "value": pl.Binary(),
        "headers": pl.Binary(),
        "born": pl.Datetime("us", "UTC"),
    }
)
"""A topic's records; a value is the JSON document of what it holds, whatever its format."""

APPENDED = pl.Schema(
    {"partition": pl.Int32(), "offset": pl.Int64(), "index": pl.Int64(), "value": pl.Binary()}
)
"""Rows of a table that is appended to; a value is the JSON document of a row."""

UPSERTED = pl.Schema({"key": pl.Binary(), "value": pl.Binary()})
"""Rows of a table that has a key."""

LETTERS = pl.Schema(
    {
        "segment": pl.String(),
        "lane": pl.String(),
        "partition": pl.Int32(),
        "offset": pl.Int64(),
        "index": pl.Int64(),
        "state": pl.String(),
        "stage": pl.String(),
        "rule": pl.String(),
        "field": pl.String(),
        "value": pl.String(),
    }
)
"""Dead letters, one for each lane."""


@dataclass(frozen=True)
class Remains:
    """Reads what a run left.

    Args:
        systems: Entered.
        pipeline: The pipeline's name there.
        segments: The program, compiled for there.
        prefix: What the names of topics begin with there, and not in the program.
    """

    systems: Systems
    pipeline: str
    segments: Sequence[Segment]
    prefix: str

    def name(self, there: str) -> str:
        """A segment's or lane's name as the program has it."""
        return there.removeprefix(self.prefix)

    def lanes(self) -> list[tuple[Segment, Lane]]:
        """Every lane with its segment, in the order of the program."""
        return [(segment, lane) for segment in self.segments for lane in segment.lanes]

    def topic(self, lane: Lane) -> pl.DataFrame:
        """The records of a topic that a lane writes, as `TOPIC`, in the order of the topic."""
        with closing(self.systems.topic(lane.table)) as topic:
            found = pl.concat([TOPIC.to_frame(), *(p.select(list(TOPIC)) for p in pages(topic))])
        records = found.sort("partition", "offset").with_row_index("_row")
        kept = records.filter(pl.col("value").is_not_null())
        lane.codec.prepare(kept)
        rows = lane.codec.decode(lane.spec, kept["value"]).rows
        documents = pl.DataFrame(
            {"_row": kept["_row"].gather(rows["_row"]), "document": encode(lane.spec, rows)}
        )
        read = pl.coalesce("document", "value").alias("value")
        names = ~staging.is_signed(pl.col("headers"))  # of pipelines and segments, set apart here
        return (
            records.join(documents, on="_row", how="left")
            .sort("_row")
            .with_columns(read, pl.when(names).then("headers").alias("headers"))
            .drop("_row", "document")
        )

    def table(self, lane: Lane) -> pl.DataFrame:
        """The rows of a table that a lane writes, as `APPENDED` or `UPSERTED`."""
        upsert = lane.mode == "upsert"
        sink = self.systems.sink(lane, LaneKey(self.pipeline, "", "", lane.name))
        with closing(sink):
            frames = [_keyed(lane, f) if upsert else _placed(lane, f) for f in sink.positions()]
        return pl.concat([(UPSERTED if upsert else APPENDED).to_frame(), *frames])

    def letters(self) -> pl.DataFrame:
        """The dead letters, as `LETTERS`."""
        with self.systems.home("parity") as home, home.transaction() as cursor:
            cursor.execute(
                'SELECT segment, lane, partition, "offset", index, state, stage, rule, field, value'
                " FROM penstock.dead_letters WHERE pipeline = %s",
                [self.pipeline],
            )
            found = pl.DataFrame(cursor.fetchall(), schema=LETTERS, orient="row")
        return found.with_columns(pl.col("segment", "lane").str.strip_prefix(self.prefix))

    def counts(self) -> Mapping[str, Counts]:
        """What became of the records of each lane; what is absent, each log has for itself."""
        found: dict[str, Counts] = {}
        with self.systems.home("parity") as home, home.transaction() as cursor:
            for (key, _), tail in ledger.tails(cursor, self.pipeline).items():
                lane = self.name(key.lane)
                totals = replace(tail.totals, absent=0)
                found[lane] = found.get(lane, Counts()) + totals
        return found


def _document(lane: Lane, rows: pl.DataFrame) -> pl.Series:
    return encode(lane.spec, rows.select(list(lane.spec.polars))).alias("value")


def _keyed(lane: Lane, rows: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([encode_key(lane.spec, lane.key, rows), _document(lane, rows)])


def _placed(lane: Lane, rows: pl.DataFrame) -> pl.DataFrame:
    places = rows.select(
        pl.col("_partition", "_offset", "_index").name.map(lambda name: name.removeprefix("_"))
    )
    return places.with_columns(_document(lane, rows)).cast(dict(APPENDED))  # type: ignore[arg-type]
