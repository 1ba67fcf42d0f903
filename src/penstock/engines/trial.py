"""Runs a plan in a child process, to find the records that kill it.

The child (`python -m penstock.engines.trial program.py segment folder`) answers each line
`start count` with `ok` once the plan has run over these records; it may die instead.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from penstock.errors import PlanFailed
from penstock.plan import MicroBatch
from penstock.records import Span

if TYPE_CHECKING:
    from penstock.plan import Segment

_RECORDS = "records.arrow"
_CODEC = "codec.json"


class Trials:
    """Tries slices of a micro-batch in a child process, and starts another child for each death.

    Args:
        program: The user's program.
        segment: Whose plan runs.
        micro: The micro-batch that kills.
    """

    def __init__(self, program: Path, segment: Segment, micro: MicroBatch) -> None:
        self._program = program
        self._segment = segment
        self._micro = micro
        self._child: subprocess.Popen[str] | None = None

    def guilty(self) -> list[int]:
        """Find the records that kill, by bisection; returns their row numbers."""
        with tempfile.TemporaryDirectory(prefix="penstock-trial-") as folder:
            self._folder = Path(folder)
            self._micro.records.write_ipc(self._folder / _RECORDS)
            learnt = json.dumps(self._segment.codec.to_json())
            (self._folder / _CODEC).write_text(learnt, encoding="utf-8")
            try:
                return self._search(0, self._micro.records.height)
            finally:
                self._end()

    def _search(self, start: int, count: int) -> list[int]:
        if count == 0 or self._survives(start, count):
            return []
        if count == 1:
            return [start]
        half = count // 2
        return self._search(start, half) + self._search(start + half, count - half)

    def _survives(self, start: int, count: int) -> bool:
        child = self._child or self._begin()
        assert child.stdin is not None and child.stdout is not None  # noqa: S101 - pipes
        try:
            child.stdin.write(f"{start} {count}\n")
            child.stdin.flush()
            answer = child.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if answer != "ok":
            self._end()
        return answer == "ok"

    def _begin(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(  # noqa: S603 - our own module
            [
                sys.executable,
                "-m",
                "penstock.engines.trial",
                str(self._program),
                self._segment.name,
                str(self._folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None  # noqa: S101 - a pipe
        if child.stdout.readline().strip() != "ready":
            raise PlanFailed(
                f"a child process cannot run {self._program} to find the record that kills it; "
                "run `penstock check` on the program"
            )
        self._child = child
        return child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def main(arguments: Sequence[str]) -> None:
    """Serve trials until the parent closes the pipe."""
    from penstock import pipeline, plan
    from penstock.serdes import formats

    program, name, folder = arguments
    learnt = json.loads((Path(folder) / _CODEC).read_text(encoding="utf-8"))
    segments = plan.compile(pipeline.load(program), lambda _: formats.restored(learnt))
    segment = next(segment for segment in segments if segment.name == name)
    lanes = [lane.name for lane in segment.lanes]
    records = pl.read_ipc(Path(folder) / _RECORDS)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        start, count = map(int, line.split())
        part = records.slice(start, count)
        with suppress(PlanFailed):  # an error is no death: the engine deals with it
            segment.plan.run(MicroBatch(_spans(part), part), lanes)
        sys.stdout.write("ok\n")
        sys.stdout.flush()


def _spans(records: pl.DataFrame) -> dict[int, Span]:
    if "at" in records.columns:
        return {-1: Span(records["at"][0], records["at"][-1] + 1)}
    ends = records.group_by("partition").agg(
        pl.col("offset").min().alias("start"), pl.col("offset").max().alias("last")
    )
    return {p: Span(start, last + 1) for p, start, last in ends.iter_rows()}


if __name__ == "__main__":
    main(sys.argv[1:])
