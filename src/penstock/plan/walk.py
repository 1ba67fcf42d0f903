"""One run of a plan over the records of a micro-batch."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from penstock.contract import ContractSpec, masking, validate
from penstock.plan import deletes, indexes, isolate, replays
from penstock.plan.model import REPLAY, Lane, LaneOutcome, Outcome, row_schema
from penstock.plan.withhold import is_withheld
from penstock.records import CUT_OFF, CUT_OFF_WHY, WHOLE, Cause, Counts, Letter, Position, Span
from penstock.transforms import Computation, Explode, Filter, Map, Transform
from penstock.transforms.explode import MOST
from penstock.transforms.filter import KEEP

if TYPE_CHECKING:
    from penstock.plan.run import Plan, Point

Watch = Callable[[Computation, pl.DataFrame], None]
Dead = Sequence[tuple[int, int, Cause]]
"""Rows that died: row number of the record, the row's index, the cause."""

Tally = Mapping[int, Counts]

_TOO_MANY = Cause("explode", f"a value with {MOST} records or more cannot be exploded further")
_BROKEN = Cause("decode", "the connection broke before the answer's end")
_DAMAGED = Cause("decode", "it is truncated or damaged")
_GONE = Cause("decode", "its letter kept no masked field, and the log no longer holds the record")
_NO_DELETES = Cause("delete", "a delete, for a lane that does not take deletes of this topic")


@dataclass(frozen=True)
class Rows:
    """Rows on their way.

    Args:
        data: The contract's columns.
        at: For each row `_row`, the row number of its record, and `_index`.
        tally: What happened to the records on the way here, per partition.
        depth: How often the rows were exploded.
    """

    data: pl.DataFrame
    at: pl.DataFrame
    tally: Tally
    depth: int = 0


@dataclass
class Run:
    """Walks the tree of a plan once; `lanes` and `letters` fill up on the way.

    Args:
        plan: What to run.
        spans: What was read.
        records: What it held.
        wanted: Names of the lanes to compute.
        watch: Told of each computation and the rows that it does not fail on.
    """

    plan: Plan
    spans: Mapping[int, Span]
    records: pl.DataFrame
    wanted: frozenset[str]
    watch: Watch | None = None
    letters: list[Letter] = field(default_factory=list)
    lanes: dict[str, LaneOutcome] = field(default_factory=dict)
    gone: pl.DataFrame = field(default_factory=pl.DataFrame)

    def outcome(self) -> Outcome:
        """Do it."""
        self.records = self.records.with_row_index("_row")
        aside = self._set_aside()
        deleted = self.records.filter(pl.col("value").is_null())
        if aside:
            deleted = deleted.filter(~pl.col("_row").is_in(list(aside)))
        self._walk(self.plan.root, self._decoded(aside))
        if deleted.height:
            self._delete(deleted)
        if self.gone.height:
            at = self.gone.select("_row", "_index")
            self._spread(self.gone.drop("_row", "_index"), at, [], at.rows())
        return Outcome({name: self.lanes[name] for name in sorted(self.wanted)}, self.letters)

    def _walk(self, point: Point, rows: Rows) -> None:
        lanes = [lane for lane in point.lanes if lane.name in self.wanted]
        if lanes:
            outcome = LaneOutcome(self._placed(rows), rows.tally)
            self.lanes.update({lane.name: outcome for lane in lanes})
        for step, after in point.branches:
            if reached := after.reach & self.wanted:
                self._walk(after, self._stepped(step, rows, reached))

    # --- from records to rows ------------------------------------------------------------------

    def _set_aside(self) -> dict[int, Cause]:
        """Row numbers of what is not to be decoded: not whole, or rewritten in its letter."""
        found = _cut_off(self.records)
        if REPLAY in self.spans:
            withheld = self.records["_row"].filter(is_withheld(self.records))
            found.update(dict.fromkeys(withheld.to_list(), _GONE))
        return found

    def _decoded(self, aside: Mapping[int, Cause]) -> Rows:
        tally = self._read()
        present = self.records
        if present["value"].null_count():
            present = present.filter(pl.col("value").is_not_null())
        if aside:
            present = present.filter(~pl.col("_row").is_in(list(aside)))
        numbers = present["_row"]
        data, at, dead = self._selected(*self._limited(*self._rows_of(present)))
        dead = [*dead, *((row, WHOLE, cause) for row, cause in aside.items())]
        left = pl.Series(list(aside), dtype=pl.UInt32)
        tally = self._add(tally, "expanded", pl.concat([numbers, left]), -1)
        tally = self._add(tally, "expanded", at["_row"])
        if self.gone.height:
            tally = self._add(tally, "expanded", self.gone["_row"])
        tally = self._add(
            tally, "expanded", pl.Series([row for row, _, _ in dead], dtype=pl.UInt32)
        )
        tally = self._die(dead, self.plan.root.reach & self.wanted, tally)
        return Rows(self._born(self.plan.rows, data, at), at, tally)

    def _rows_of(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, Dead]:
        """Decode, and mask what shall not be seen: nothing raw comes further than this."""
        data, at, dead = self._decoded_rows(records)
        spec = self.plan.spec
        if not spec.masks:
            return data, at, dead
        masked = [(row, index, masking.cause(spec, cause)) for row, index, cause in dead]
        if self.gone.height:
            self.gone = masking.mask(spec.only(self.plan.key), self.gone)
        return masking.mask(spec, data), at, masked

    def _decoded_rows(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, Dead]:
        spec, framing, numbers = self.plan.spec, self.plan.framing, records["_row"]
        if REPLAY in self.spans:
            data, at, self.gone, dead = replays.decoded(self.plan, records)
            return data, at, dead
        decoded = self.plan.codec.decode(spec, records["value"], framing)
        self.gone = decoded.gone.with_columns(numbers.gather(decoded.gone["_row"]).alias("_row"))
        where = decoded.rows["_row"]
        rows = numbers if where.equals(numbers) else numbers.gather(where)
        at = pl.DataFrame([rows.alias("_row"), decoded.rows["_index"]])
        data = pl.DataFrame([decoded.rows[name] for name in spec.polars.names()])
        return data, at, [(numbers[f.row], f.index, f.cause) for f in decoded.failures]

    def _read(self) -> Tally:
        counts = dict.fromkeys(self.spans, 0) | self._by_partition(self.records["_row"])
        return {p: Counts(records=n, absent=len(self.spans[p]) - n) for p, n in counts.items()}

    def _limited(
        self, data: pl.DataFrame, at: pl.DataFrame, dead: Dead
    ) -> tuple[pl.DataFrame, pl.DataFrame, Dead]:
        """Give up records whose elements are too many for the indexes of exploded rows."""
        if not self.plan.explodes:
            return data, at, dead
        over = {row for row, index, _ in dead if index >= MOST}
        over.update(at.filter(pl.col("_index") >= MOST)["_row"].unique().to_list())
        if not over:
            return data, at, dead
        stay = ~at["_row"].is_in(sorted(over))
        whole = [(row, WHOLE, _TOO_MANY) for row in sorted(over)]
        return data.filter(stay), at.filter(stay), [d for d in dead if d[0] not in over] + whole

    def _selected(
        self, data: pl.DataFrame, at: pl.DataFrame, dead: Dead, depth: int = 0
    ) -> tuple[pl.DataFrame, pl.DataFrame, Dead]:
        """Of a replay, keep the rows that it names."""
        if REPLAY not in self.spans:
            return data, at, dead
        targets = self.records["index"]
        own = at.with_columns(target=targets[at["_row"]])
        stay = own.select(indexes.related(pl.col("_index"), depth, pl.col("target"))).to_series()
        rows = pl.DataFrame(
            {"_index": [index for _, index, _ in dead]}, schema={"_index": pl.Int64}
        )
        rows = rows.with_columns(target=targets[[row for row, _, _ in dead]])
        failed = (pl.col("_index") == WHOLE) | indexes.related(
            pl.col("_index"), depth, pl.col("target")
        )
        meant = rows.select(failed).to_series().to_list()
        return (
            data.filter(stay),
            at.filter(stay),
            [d for d, keep in zip(dead, meant, strict=True) if keep],
        )

    # --- steps -----------------------------------------------------------------------------------

    def _stepped(self, step: Transform, rows: Rows, reached: frozenset[str]) -> Rows:
        if not rows.data.height:
            return replace(rows, data=pl.DataFrame(schema=step.output.polars))
        if isinstance(step, Explode):
            return self._exploded(step, rows, reached)
        assert isinstance(step, Map | Filter)  # noqa: S101
        return self._computed(step, rows, reached)

    def _computed(self, step: Computation, rows: Rows, reached: frozenset[str]) -> Rows:
        done = isolate.compute(step, rows.data)
        at = done.good(rows.at)
        if self.watch:
            self.watch(step, done.good(rows.data))
        places = rows.at.select("_row", "_index")
        dead = [(*places.row(row), cause) for row, cause in done.failures]
        tally = self._die(dead, reached, rows.tally)
        if not isinstance(step, Filter):
            return Rows(self._born(step.output, done.result, at), at, tally, rows.depth)
        keep = done.result[KEEP]
        tally = self._add(tally, "filtered", at["_row"].filter(~keep))
        return Rows(done.good(rows.data).filter(keep), at.filter(keep), tally, rows.depth)

    def _exploded(self, step: Explode, rows: Rows, reached: frozenset[str]) -> Rows:
        made = step.apply(rows.data)
        parents = rows.at[made.parents]
        at = parents.with_columns(indexes.of_children(parents["_index"], made.children))
        dead: Dead = [(*rows.at.row(row), cause) for row, cause in made.failures]
        data, at, _ = self._selected(made.rows, at, [], rows.depth + 1)
        tally = self._add(rows.tally, "expanded", rows.at["_row"], -1)
        tally = self._add(tally, "expanded", at["_row"])
        tally = self._add(tally, "expanded", pl.Series([d[0] for d in dead], dtype=pl.UInt32))
        tally = self._die(dead, reached, tally)
        exploded = Rows(self._born(step.output, data, at), at, tally, rows.depth + 1)
        return self._validated(step, exploded, reached)

    def _validated(self, step: Explode, rows: Rows, reached: frozenset[str]) -> Rows:
        """The element's contract may be narrower than the list's."""
        broken = validate(step.output, rows.data)
        if not broken:
            return rows
        dead = [(*rows.at.row(row), replace(cause, stage="explode")) for row, cause in broken]
        guilty = pl.Series([row for row, _ in broken], dtype=pl.UInt32)
        stay = ~rows.data.select(pl.row_index().is_in(guilty.implode())).to_series()
        tally = self._die(dead, reached, rows.tally)
        return Rows(rows.data.filter(stay), rows.at.filter(stay), tally, rows.depth)

    def _born(self, spec: ContractSpec, data: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
        """Fill the born field from the log where the record does not say."""
        if spec.born is None or not data[spec.born].null_count():
            return data
        born = self.records["born"][at["_row"]]
        return data.with_columns(pl.col(spec.born).fill_null(born))

    # --- deletes ----------------------------------------------------------------------------------

    def _delete(self, records: pl.DataFrame) -> None:
        """Send deletes to the lanes with the topic's key; for others they are dead letters."""
        found = deletes.read(self.plan.spec, self.plan.key, records.select("_row", "key"))
        at = pl.DataFrame({"_row": found.rows}).with_columns(_index=pl.lit(0, pl.Int64))
        unread = [(row, WHOLE, cause) for row, cause in found.failures]
        self._spread(found.keys, at, unread, [(row, WHOLE) for row in found.rows.to_list()])

    def _spread(
        self,
        keys: pl.DataFrame,
        at: pl.DataFrame,
        unread: list[tuple[int, int, Cause]],
        places: Sequence[tuple[int, int]],
    ) -> None:
        """Give each lane the deletes, or the dead letters of what it does not take."""
        dead = [(*place, _NO_DELETES) for place in places]
        deaf = [lane.name for lane in self._wanted_lanes() if not self._takes_deletes(lane)]
        for lane in self._wanted_lanes():
            before = self.lanes[lane.name]
            lost = unread + dead if lane.name in deaf else unread
            counts = self._add(
                before.counts, "dead", pl.Series([d[0] for d in lost], dtype=pl.UInt32)
            )
            rows = before.rows if lane.name in deaf else self._merged(lane, before.rows, keys, at)
            self.lanes[lane.name] = LaneOutcome(rows, counts)
        self._write(unread, self.wanted)
        self._write(dead, frozenset(deaf))

    def _wanted_lanes(self) -> Sequence[Lane]:
        return [lane for lane in self.plan.lanes if lane.name in self.wanted]

    def _takes_deletes(self, lane: Lane) -> bool:
        key = self.plan.key
        types = [self.plan.rows.polars[name] for name in key]
        return lane.key == key != () and types == [lane.spec.polars[name] for name in key]

    def _merged(
        self, lane: Lane, rows: pl.DataFrame, keys: pl.DataFrame, at: pl.DataFrame
    ) -> pl.DataFrame:
        """Put deletes between the other rows, in the order of the log."""
        gone = self._placed(Rows(keys, at, {})).with_columns(_deleted=pl.lit(True))
        empty = pl.DataFrame(schema=row_schema(lane.spec))
        gone = pl.concat([empty, gone], how="diagonal")
        place = ["_partition", "_offset", "_index"]
        return pl.concat([rows, gone]).sort(place, maintain_order=True)

    # --- books ------------------------------------------------------------------------------------

    def _placed(self, rows: Rows) -> pl.DataFrame:
        """Add the row columns to the contract's."""
        numbers = rows.at["_row"]
        places = [self.records[name] for name in ("partition", "offset", "order", "born")]
        if not numbers.equals(self.records["_row"]):
            places = [column.gather(numbers) for column in places]
        partition, offset, order, born = places
        return rows.data.hstack(
            [
                partition.alias("_partition"),
                offset.alias("_offset"),
                rows.at["_index"],
                order.alias("_order"),
                born.alias("_born"),
                pl.repeat(False, len(numbers), dtype=pl.Boolean, eager=True).alias("_deleted"),
            ]
        )

    def _die(self, dead: Dead, lanes: frozenset[str], tally: Tally) -> Tally:
        self._write(dead, lanes)
        return self._add(tally, "dead", pl.Series([row for row, _, _ in dead], dtype=pl.UInt32))

    def _write(self, dead: Dead, lanes: frozenset[str]) -> None:
        """Write the letters; what is replayed keeps the index of its letter."""
        if not dead or not lanes:
            return
        columns = ["partition", "offset", *(["index"] if REPLAY in self.spans else [])]
        places = self.records.select(columns)[[row for row, _, _ in dead]].rows()
        names = tuple(sorted(lanes))
        for (_, index, cause), (partition, offset, *target) in zip(dead, places, strict=True):
            if target and indexes.level(target[0]) > indexes.level(index):
                index = target[0]
            self.letters.append(Letter(Position(partition, offset, index), names, cause))

    def _add(self, tally: Tally, name: str, rows: pl.Series, sign: int = 1) -> Tally:
        """Add the number of rows, given by their records, to one of the counts."""
        if not len(rows):
            return tally
        added = {
            p: replace(tally[p], **{name: getattr(tally[p], name) + sign * n})
            for p, n in self._by_partition(rows).items()
        }
        return {**tally, **added}

    def _by_partition(self, rows: pl.Series) -> dict[int, int]:
        if len(self.spans) == 1:
            return {next(iter(self.spans)): len(rows)}
        counts = self.records["partition"][rows].value_counts()
        return dict(counts.iter_rows())


def _cut_off(records: pl.DataFrame) -> dict[int, Cause]:
    """Row numbers of what is not whole, even if its beginning can be read, and why."""
    if records["headers"].null_count() == records.height:
        return {}
    name, value = CUT_OFF
    mark = json.dumps([name, base64.b64encode(value.encode()).decode()]).encode()
    cut = records["headers"].bin.contains(mark) & records["value"].is_not_null()
    found = records.filter(cut.fill_null(False)).select("_row", "headers")
    return {row: _why(headers) for row, headers in found.iter_rows()}


def _why(headers: bytes) -> Cause:
    """What is wrong with a response, from its headers; no data of records, so never masked."""
    facts = dict(json.loads(headers))
    if not (words := facts.get(CUT_OFF_WHY)):
        return _BROKEN
    return replace(_DAMAGED, value=base64.b64decode(words).decode()[:200])
