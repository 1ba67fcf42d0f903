"""What `reconcile` found, on the screen and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from penstock.cli import drawing, text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from penstock.engines.reconciling.reconcile import Report


@contextmanager
def counting(*, silent: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many records were compared so far."""
    if silent or not sys.stderr.isatty():
        yield lambda records: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} records compared"))
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda records: progress.advance(task, records)


def document(pipeline: str, report: Report, *, deep: bool) -> dict[str, Any]:
    """The report as `reconcile --json` prints it."""
    return {
        "pipeline": pipeline,
        "balanced": report.balanced,
        "deep": deep,
        "differences": list(report.differences),
        "notes": list(report.notes),
        "lanes": [
            {
                "segment": lane.segment,
                "lane": lane.lane,
                "lag": lane.lag,
                "rows_compared": lane.rows,
                "counts": asdict(lane.counts),
            }
            for lane in report.lanes
        ],
    }


def drawn(report: Report, *, deep: bool) -> RenderableType:
    """The report for people."""
    from rich.console import Group

    fates = text.fates(lane.counts for lane in report.lanes)
    columns = ("records", *fates, "to go", *(["compared"] if deep else []))
    table = drawing.table("lane", *columns, right=columns)
    names = text.names((lane.segment, lane.lane) for lane in report.lanes)
    for lane in report.lanes:
        figures = [getattr(lane.counts, fate) for fate in fates]
        cells = map(text.count, (text.records(lane.counts), *figures, lane.lag))
        compared = [] if not deep else ["–" if lane.rows is None else text.count(lane.rows)]
        table.add_row(drawing.words(names[lane.segment, lane.lane]), *cells, *compared)
    lines = [drawing.words(f"note: {note}") for note in report.notes]
    lines += [drawing.words(f"✗ {words}", "red") for words in report.differences]
    how = "every row is where it belongs" if deep else "every record is accounted for"
    verdict = f"balanced: {how}" if report.balanced else "NOT balanced"
    return Group(table, *lines, drawing.words(verdict, "green" if report.balanced else "bold red"))
