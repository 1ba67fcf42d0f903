"""Files that were cut short or damaged: one dead letter each, which says which file and why."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.live.project import Project

PROGRAM = """
import penstock as ps

class Order(ps.Contract):
    id: int = ps.key()
    note: str | None = NOTE

pipeline = ps.Pipeline("shop")
packed = pipeline.source(ps.Files("in/*.gz"), Order, land="packed")
packed.sink("packed", store="one", mode="append")
columns = pipeline.source(ps.Files("in/*.parquet", format="parquet"), Order, land="columns")
columns.sink("columns", store="one", mode="append")
"""
MARKER = "Zaphod"


def damage(folder: Path) -> None:
    """A whole file of each kind, and one that lacks its end."""
    folder.mkdir()
    lines = b"".join(b'{"id":%d,"note":"%s"}\n' % (n, MARKER.encode()) for n in range(3000))
    (folder / "whole.ndjson.gz").write_bytes(gzip.compress(lines))
    (folder / "short.ndjson.gz").write_bytes(gzip.compress(lines)[:-40])
    pq.write_table(pa.table({"id": range(100), "note": [MARKER] * 100}), folder / "whole.parquet")
    (folder / "short.parquet").write_bytes((folder / "whole.parquet").read_bytes()[:-20])


@pytest.mark.parametrize("masked", [False, True])
def test_the_letter_says_which_file_and_why(project: Project, *, masked: bool) -> None:
    note = 'ps.masked("redact")' if masked else "None"
    project.write(PROGRAM.replace("NOTE", note))
    damage(project.path / "in")
    project.run()
    project.balance()
    found = {letter["lane"]: letter for letter in project.letters()}
    assert {lane: (x["rule"], x["value"].partition(". ")[0]) for lane, x in found.items()} == {
        "packed@one": ("it is truncated or damaged", f"file://{project.path}/in/short.ndjson.gz: "
                       "Truncated compressed stream"),
        "columns@one": ("it is truncated or damaged", f"file://{project.path}/in/short.parquet: "
                        "Parquet magic bytes not found in footer"),
    }  # fmt: skip
    assert project.rows("SELECT count(*) FROM one.columns") == [(100,)]
    said = project.penstock("deadletters", "list").stdout.decode()
    assert "it is truncated or damaged" in said
    shown = project.penstock("deadletters", "show").stdout.decode()
    assert "short.parquet" in shown
    assert (MARKER in shown) is not masked
