from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock import plan
from penstock.errors import DeclarationError
from penstock.pipeline import load

PROGRAM = """\
import penstock as ps
{extra}
class Order(ps.Contract):
    id: str = ps.key()

def same(frame):
    return frame{change}

pipeline = ps.Pipeline("p")
pipeline.topic("orders", Order).map(same, Order).sink("orders", store="w")
"""


def write(folder: Path, text: str, name: str = "program.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def program(folder: Path, extra: str = "", change: str = "") -> Path:
    return write(folder, PROGRAM.format(extra=extra, change=change))


@pytest.fixture(autouse=True)
def _paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())


def test_a_program_is_run_and_gives_its_pipeline(tmp_path: Path) -> None:
    assert load(program(tmp_path)).name == "p"


def test_it_may_import_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "LIMIT = 7\n", "neighbour_of_program.py")
    assert load(program(tmp_path, extra="from neighbour_of_program import LIMIT"))


def test_a_program_changed_within_a_second_is_read_again(tmp_path: Path) -> None:
    before = plan.compile(load(program(tmp_path)))[0].plan.fingerprint
    after = plan.compile(load(program(tmp_path, change=".head(1)")))[0].plan.fingerprint
    again = plan.compile(load(program(tmp_path)))[0].plan.fingerprint
    assert before == again != after


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("x = (\n", "not Python", 1),
        ("import penstock\n\nimport no_such_module\n", "No module named 'no_such_module'", 3),
        ("def f():\n    return 1 / 0\n\nf()\n", "division by zero", 2),
        ("import sys\nsys.exit(3)\n", "SystemExit", 2),
        ("x = 1\n", "no pipeline", None),
        (
            "import penstock as ps\na = ps.Pipeline('a')\nb = ps.Pipeline('b')\n",
            "2 pipelines.*a, b",
            None,
        ),
        ("import penstock as ps\n\nps.Pipeline('')\n", "empty", 3),
        ("x = '\\ud800'\nraise ValueError(x.encode())\n", "UnicodeEncodeError", 2),
    ],
)
def test_what_is_wrong_is_told_with_the_users_line(
    tmp_path: Path, text: str, words: str, line: int | None
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DeclarationError, match=words) as caught:
        load(path)
    assert caught.value.file == str(path)
    assert caught.value.line == line


def test_an_error_in_a_neighbour_names_the_neighbour(tmp_path: Path) -> None:
    neighbour = write(tmp_path, "\nraise RuntimeError('no')\n", "broken_neighbour.py")
    with pytest.raises(DeclarationError, match="no") as caught:
        load(program(tmp_path, extra="import broken_neighbour"))
    assert (caught.value.file, caught.value.line) == (str(neighbour), 2)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"nowhere\.py cannot be read"):
        load(tmp_path / "nowhere.py")
    with pytest.raises(DeclarationError, match="cannot be read"):
        load(tmp_path)


def test_a_pipeline_under_another_name_has_topics_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "pipeline.topic('others', Order).map(same, Order).topic('mine').sink('t', store='w')"
    path = write(tmp_path, PROGRAM.format(extra="", change="") + more)
    usual = plan.compile(load(path))
    monkeypatch.setenv("PENSTOCK_NAMESPACE", "trial")
    pipeline = load(path)
    segments = plan.compile(pipeline)
    assert pipeline.name == "trial_p"
    assert [s.name for s in segments] == ["trial_orders", "trial_others", "trial_mine"]
    lanes = [lane.name for segment in segments for lane in segment.lanes]
    assert lanes == ["orders@w", "trial_mine@log", "t@w"]
    assert [s.name for s in usual] == ["orders", "others", "mine"]
