from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock import plan
from penstock.pipeline import load

PROGRAM = """\
import functools
import neighbour_for_fingerprint as neighbour
import polars as pl
import penstock as ps

class Order(ps.Contract):
    id: str = ps.key()
    city: str

class Place(ps.Contract):
    id: str = ps.key()
    city: str

FACTOR = {"b": {"y", "x", "z"}, "a": 1.5}

class Helper:
    suffix = "!"
    def __call__(self, frame):
        return frame.with_columns(pl.col("city") + self.suffix)

def inner(frame):
    return [FACTOR for _ in frame]

def move(frame, step=1):
    # a comment
    if inner(frame) and step in {"p", "q", "r"}:
        return neighbour.clean(frame)
    return frame.select(pl.all().map_batches(lambda s: s))

pipeline = ps.Pipeline("p")
orders = pipeline.topic("orders", Order)
orders.map(functools.partial(move, step=2), Place).sink("a", store="w")
orders.filter(pl.col("city").is_in(["x", "y"])).map(Helper(), Place).sink("b", store="w")
upper = pl.col("city").map_elements(str.isupper, return_dtype=pl.Boolean)
orders.filter(upper).sink("c", store="w")
"""
NEIGHBOUR = """\
def clean(frame):
    return other(frame)

def other(frame):
    return frame.head(10)

def unused():
    return 1
"""


def fingerprint(folder: Path, program: str = PROGRAM, neighbour: str = NEIGHBOUR) -> str:
    """Compile in a process of its own: no object ids or hashes are shared."""
    (folder / "neighbour_for_fingerprint.py").write_text(neighbour)
    (folder / "program.py").write_text(program)
    code = (
        "from penstock import plan\nfrom penstock.pipeline import load\n"
        "print(plan.compile(load('program.py'))[0].plan.fingerprint)"
    )
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def in_process(folder: Path, program: str) -> str:
    (folder / "neighbour_for_fingerprint.py").write_text(NEIGHBOUR)
    path = folder / "program.py"
    path.write_text(program)
    return plan.compile(load(path))[0].plan.fingerprint


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    first, second = fingerprint(tmp_path), fingerprint(tmp_path)
    assert first == second
    assert len(first) == 16


def test_a_change_of_a_function_in_another_module_shows(tmp_path: Path) -> None:
    changed = NEIGHBOUR.replace("head(10)", "head(11)")
    assert fingerprint(tmp_path) != fingerprint(tmp_path, neighbour=changed)
    unused = NEIGHBOUR.replace("return 1", "return 2")
    assert fingerprint(tmp_path) == fingerprint(tmp_path, neighbour=unused)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("step=2", "step=3"),
        ("step=1", "step=7"),
        ('"q", "r"', '"q", "s"'),
        ('"y", "x", "z"', '"y", "x"'),
        ("1.5", "1.6"),
        ('"!"', '"?"'),
        ("[FACTOR for _", "[(FACTOR,) for _"),
        ('["x", "y"]', '["x", "q"]'),
        ("lambda s: s", "lambda s: s + s"),
        ("orders.filter(pl.col", "orders.filter(~pl.col"),
        ("city: str", "city: str | None"),
        ('"c", store', '"d", store'),
    ],
)
def test_a_change_of_code_or_data_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "neighbour_for_fingerprint", raising=False)
    before = in_process(tmp_path, PROGRAM)
    assert old in PROGRAM
    assert in_process(tmp_path, PROGRAM.replace(old, new)) != before
    assert in_process(tmp_path, "\n\n" + PROGRAM.replace("# a comment", "# another")) == before
