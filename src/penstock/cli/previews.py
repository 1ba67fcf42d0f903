"""What the current program would make of dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from penstock.cli import drawing, letters, text
from penstock.engines import rereading
from penstock.errors import PlanFailed
from penstock.plan.withhold import is_withheld
from penstock.records import ROW_COLUMNS

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

    from penstock.engines.systems import Systems
    from penstock.plan import MicroBatch, Segment
    from penstock.records import Letter

_MOST_ROWS = 10
"""Rows of each lane on the screen."""

_MOST_LETTERS = 80
"""Letters of a cell on the screen."""


@dataclass(frozen=True)
class Preview:
    """What one segment would make of its dead letters.

    Args:
        segment: The segment's name.
        rows: For each lane the rows that would be written.
        failing: Those that would fail again, with the new cause.
        error: Why nothing can be said: the code fails, or the segment is gone.
    """

    segment: str
    rows: Mapping[str, pl.DataFrame]
    failing: Sequence[Letter]
    error: str = ""


def whole(
    systems: Systems, segments: Iterable[Segment], batches: Mapping[str, MicroBatch]
) -> dict[str, MicroBatch]:
    """Read what letters have withheld from the logs, as a replay does."""
    known = {segment.name: segment for segment in segments}
    return {
        name: _whole(systems, known[name], batch) if name in known else batch
        for name, batch in batches.items()
    }


def _whole(systems: Systems, segment: Segment, batch: MicroBatch) -> MicroBatch:
    if not is_withheld(batch.records).any():
        return batch
    unchanged = replace(segment, retention=None, partitions=None)
    with closing(systems.log(unchanged)) as log:
        return rereading.whole(log, batch)


def run(segments: Iterable[Segment], batches: Mapping[str, MicroBatch]) -> list[Preview]:
    """Run each segment's plan over its letters."""
    known = {segment.name: segment for segment in segments}
    return [_one(name, known.get(name), batch) for name, batch in batches.items()]


def _one(name: str, segment: Segment | None, batch: MicroBatch) -> Preview:
    if segment is None:
        return Preview(name, {}, (), "the program no longer reads this log")
    lanes = {lane.name for lane in segment.lanes} & set(batch.records["lanes"].explode())
    segment.codec.prepare(batch.records)
    try:
        outcome = segment.plan.run(batch, lanes)
    except PlanFailed as error:
        return Preview(name, {}, (), str(error))
    rows = {lane: outcome.lanes[lane].rows for lane in sorted(lanes)}
    return Preview(name, rows, outcome.letters)


def document(previews: Sequence[Preview]) -> dict[str, Any]:
    """The previews as `deadletters preview --json` prints them."""
    return {
        "segments": [
            {
                "segment": preview.segment,
                "error": preview.error,
                "lanes": [
                    {"lane": lane, "rows": rows.drop(_SYSTEM, strict=False).to_dicts()}
                    for lane, rows in preview.rows.items()
                ],
                "failing": [_failing(letter) for letter in preview.failing],
            }
            for preview in previews
        ]
    }


_SYSTEM = [name for name in ROW_COLUMNS if name not in ("_partition", "_offset", "_index")]


def _failing(letter: Letter) -> dict[str, Any]:
    return {
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "index": letter.position.index,
        "lanes": list(letter.lanes),
        "stage": letter.cause.stage,
        "rule": letter.cause.rule,
        "field": letter.cause.field,
        "value": letter.cause.value,
        "detail": letter.cause.detail,
    }


def drawn(previews: Sequence[Preview]) -> RenderableType:
    """The previews for people."""
    from rich.console import Group

    if not previews:
        return "no dead letters of this choice"
    return Group(*(part for preview in previews for part in _parts(preview)))


def _parts(preview: Preview) -> Iterable[RenderableType]:
    yield drawing.words(preview.segment, "bold")
    if preview.error:
        yield drawing.words(f"  {preview.error}", "red")
    for lane, rows in preview.rows.items():
        yield drawing.words(f"  {lane}: {text.count(rows.height)} rows would be written", "green")
        if rows.height:
            yield _rows(rows)
    if preview.failing:
        failing = text.count(len(preview.failing))
        yield drawing.words(f"  {failing} would fail again; `replay` would keep them dead", "red")
        yield _causes(preview.failing)


def _rows(rows: pl.DataFrame) -> RenderableType:
    shown = rows.drop(list(ROW_COLUMNS), strict=False).head(_MOST_ROWS)
    table = drawing.table(*shown.columns)
    for row in shown.iter_rows():
        table.add_row(*(drawing.words(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return ""
    words = text.escaped(value) if isinstance(value, bytes) else text.line(str(value))
    return words if len(words) <= _MOST_LETTERS else f"{words[:_MOST_LETTERS]}…"


def _causes(failing: Sequence[Letter]) -> RenderableType:
    table = drawing.table("position", "stage", "field", "rule", "value", wrap=("rule", "value"))
    for letter in failing[:_MOST_ROWS]:
        cause = letter.cause
        words = (letters.place(letter.position), cause.stage, cause.field, cause.rule, cause.value)
        table.add_row(*(drawing.words(_cell(word)) for word in words))
    return table
