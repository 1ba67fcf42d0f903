"""`run --reload`: a program that is edited under a stream of records, with kills around it."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.project import Project

PROGRAM = """
import polars as pl
import penstock as ps
import version_of_it

class Record(ps.Contract):
    id: int

class Row(ps.Contract):
    id: int
    version: int

def stamped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(version=pl.lit(version_of_it.VERSION, pl.Int64))

pipeline = ps.Pipeline("edited")
records = pipeline.source(ps.Files("records.ndjson", every=0.05), Record, land="edited")
records.map(stamped, Row).sink("rows", store="one", mode="append")
"""
PATIENCE = 60


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Edited:
    """A running program, what it says, and records that are written for it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.number = 0
        self.said: list[dict[str, Any]] = []
        self.feeding = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.save(PROGRAM)
        self.version(1)
        (project.path / "records.ndjson").touch()

    def save(self, text: str, name: str = "program.py") -> None:
        other = self.project.path / f".{name}.swp"
        other.write_text(text)
        other.rename(self.project.path / name)

    def version(self, number: int) -> None:
        self.save(f"VERSION = {number}\n", "version_of_it.py")

    def start(self) -> None:
        self.process = process = self.project.start("run", "program.py", "--reload", "--json")
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(json.loads(line) if line.startswith(b"{") else {"event": str(line)})

    def heard(self, kind: str, words: str = "") -> Callable[[], bool]:
        return lambda: any(x.get("kind") == kind and words in x["event"] for x in list(self.said))

    def give(self, count: int = 1) -> None:
        with (self.project.path / "records.ndjson").open("a") as file:
            for _ in range(count):
                self.number += 1
                file.write(f'{{"id": {self.number}}}\n')

    def feed(self) -> threading.Thread:
        def body() -> None:
            while not self.feeding.wait(0.01):
                self.give(5)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def newest(self) -> int:
        try:
            return self.project.rows("SELECT max(version) FROM one.rows")[0][0] or 0
        except Exception:  # there is no table yet
            return 0

    def count(self) -> int:
        return int(self.project.rows("SELECT count(*) FROM one.rows")[0][0])

    def stop(self, code: int = 0) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == code, self.said
        self.end()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()
            self.process = None


@pytest.fixture
def edited(project: Project) -> Iterator[Edited]:
    given = Edited(project)
    yield given
    given.feeding.set()
    given.end()


def exact(edited: Edited) -> None:
    """Each record is there once, versions never go back, and the ledger says so, too."""
    edited.project.run()
    rows = edited.project.rows("SELECT id, version FROM one.rows ORDER BY _offset, _index")
    assert [number for number, _ in rows] == list(range(1, edited.number + 1))
    versions = [version for _, version in rows]
    assert versions == sorted(versions)
    edited.project.balance()


def test_edits_under_a_stream_lose_and_double_nothing(edited: Edited) -> None:
    feed = edited.feed()
    edited.start()
    for version in range(1, 5):
        edited.version(version)
        until(lambda version=version: edited.newest() == version)  # type: ignore[misc]
    edited.feeding.set()
    feed.join()
    edited.stop()
    assert edited.heard("reload", "from the next micro-batch on")()
    assert not edited.heard("reload-refused")()
    exact(edited)


def test_kills_around_edits_lose_and_double_nothing(edited: Edited) -> None:
    feed = edited.feed()
    for version, delay in enumerate((0.0, 0.15, 0.3, 0.6), start=1):
        edited.start()
        until(lambda version=version: edited.newest() >= version - 1)  # type: ignore[misc]
        if version % 2:
            edited.version(version)
        else:  # another shape
            edited.save(PROGRAM + f'records.sink("shape_{version}", store="two", mode="append")\n')
            edited.version(version)
        time.sleep(delay)
        assert edited.process is not None
        edited.process.kill()
        edited.end()
        edited.start()
        until(lambda version=version: edited.newest() == version)  # type: ignore[misc]
        edited.stop()
    edited.feeding.set()
    feed.join()
    exact(edited)


REFUSED = [
    ("def stamped", "def (stamped", "is not Python"),
    ("rows.with_columns", "rows.select('idd').with_columns", "idd"),
    ("version: int", "version: float", "version"),
    ("pl.Int64))", "pl.String))", "version"),
    ('Pipeline("edited")', 'Pipeline("other")', "called 'other' now"),
    ('store="one"', 'store="nowhere"', "has no store 'nowhere'"),
    ("import version_of_it", "import version_of_it; 1 / 0", "ZeroDivisionError"),
    ("import version_of_it", "import version_of_it; raise SystemExit", "SystemExit"),
    ("    version: int", "    number: int", "version"),
]
INCOMPATIBLE = PROGRAM.replace("version: int", "version: str").replace("pl.Int64)", "pl.String)")
INCOMPATIBLE = INCOMPATIBLE.replace("version_of_it.VERSION", "str(version_of_it.VERSION)")


def test_what_could_not_start_is_refused_and_the_old_goes_on(edited: Edited) -> None:
    edited.start()
    edited.give()
    until(lambda: edited.newest() == 1)
    wrong = [(PROGRAM.replace(old, new), why) for old, new, why in REFUSED]
    for text, why in [*wrong, (INCOMPATIBLE, "cannot become Row as it is declared")]:
        assert text != PROGRAM
        edited.said.clear()
        edited.save(text)
        until(edited.heard("reload-refused", why))
        edited.give()
        until(lambda: edited.count() == edited.number)
    edited.save(PROGRAM.replace("VERSION,", "VERSION + 1,"))
    until(edited.heard("reload", "is taken"))
    edited.give()
    until(lambda: edited.newest() == 2)
    edited.stop()
    exact(edited)


def test_a_file_that_is_gone_is_waited_for(edited: Edited) -> None:
    edited.start()
    edited.give()
    until(lambda: edited.newest() == 1)
    program = edited.project.path / "program.py"
    program.unlink()
    until(edited.heard("reload", "is gone"))
    edited.give()
    until(lambda: edited.count() == 2)
    edited.save(PROGRAM.replace("VERSION,", "VERSION + 1,"))
    until(edited.heard("reload", "is taken"))
    edited.give()
    until(lambda: edited.newest() == 2)
    edited.stop()
    exact(edited)


def test_another_shape_is_formed_anew(edited: Edited) -> None:
    edited.start()
    edited.give(3)
    until(lambda: edited.newest() == 1)
    edited.save(PROGRAM + 'records.sink("ids", store="two", mode="append")\n')
    until(edited.heard("reload", "lane ids@two is new"))
    edited.give(2)
    until(lambda: edited.heard("running", "lane ids@two")() and edited.count() == 5)
    edited.save(PROGRAM)
    until(edited.heard("reload", "lane ids@two is gone"))
    edited.give()
    until(lambda: edited.count() == 6)
    edited.stop()
    assert edited.project.rows("SELECT count(*) FROM two.ids")[0][0] >= 5
    exact(edited)


def test_a_segment_that_stopped_is_mended_by_an_edit(edited: Edited) -> None:
    where = "len(rows) and rows['id'].is_between(101, 199).all()"
    fails = f"    if {where}: raise ValueError('above a hundred')\n    return rows"
    edited.save(PROGRAM.replace("    return rows", fails))
    edited.number = 100
    edited.start()
    edited.give(50)
    until(edited.heard("stopped", "above a hundred"))
    edited.save(PROGRAM)
    until(lambda: edited.newest() == 1 and edited.count() == 50)
    edited.stop()
    edited.project.balance()


def test_spark_keeps_what_it_was_sent(project: Project, tmp_path: Path) -> None:
    project.write(PROGRAM.replace("import version_of_it", ""))
    profile = (
        (tmp_path / "penstock.toml")
        .read_text()
        .replace("[profiles.test]", '[profiles.test]\nengine = "local[2]"')
    )
    (tmp_path / "penstock.toml").write_text(profile)
    said = project.penstock("run", "program.py", "--reload", code=1)
    assert b"--reload is for the embedded engine" in said.stderr
