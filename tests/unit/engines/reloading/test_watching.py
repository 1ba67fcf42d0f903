"""What counts as a change of a program, and what does not yet."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock import pipeline as programs
from penstock.engines.reloading.watching import GONE, Watch, anew
from penstock.errors import DeclarationError

PROGRAM = """
import penstock as ps
import neighbour_of_it

class Row(ps.Contract):
    id: str

pipeline = ps.Pipeline(neighbour_of_it.NAME)
pipeline.topic("rows", Row).sink("rows", store="one")
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), dict(sys.modules)
    file = tmp_path / "program.py"
    save(file, PROGRAM)
    save(tmp_path / "neighbour_of_it.py", 'NAME = "first"')
    yield file
    sys.path[:] = path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


def save(file: Path, text: str) -> None:
    """Save as editors do: another file is renamed in the old one's place."""
    other = file.with_suffix(".swp")
    other.write_text(text)
    # As if a minute ago: one that is as new as the load itself is rightly looked at again.
    os.utime(other, ns=(stamp := other.stat().st_mtime_ns - 60_000_000_000 + len(text), stamp))
    other.rename(file)


def watched(program: Path) -> tuple[Watch, str]:
    watch = Watch(program)
    name = programs.load(program).name
    watch.loaded(whole=True)
    return watch, name


def test_nothing_has_changed(program: Path) -> None:
    watch, _ = watched(program)
    assert [watch.changed() for _ in range(3)] == [False] * 3


def test_a_change_counts_once_and_when_it_is_whole(program: Path) -> None:
    watch, _ = watched(program)
    save(program, PROGRAM + "#")
    assert not watch.changed()
    save(program, PROGRAM + "##")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()


def test_a_neighbour_counts_and_is_imported_anew(program: Path) -> None:
    watch, name = watched(program)
    assert name == "first"
    save(program.with_name("neighbour_of_it.py"), 'NAME = "second"')
    assert [watch.changed(), watch.changed()] == [False, True]
    with anew(program):
        assert programs.load(program).name == "second"


def test_other_files_do_not_count(program: Path) -> None:
    watch, _ = watched(program)
    save(program.with_name("test_program.py"), "#")
    assert [watch.changed() for _ in range(3)] == [False] * 3


def test_a_program_that_is_gone_is_no_change(program: Path) -> None:
    watch, _ = watched(program)
    program.rename(program.with_suffix(".away"))
    assert [watch.changed() for _ in range(GONE + 2)] == [False] * (GONE + 2)
    assert watch.lost
    program.with_suffix(".away").rename(program)
    assert [watch.changed() for _ in range(3)] == [False] * 3
    assert not watch.lost


def test_a_neighbour_that_is_gone_is_one_after_a_while(program: Path) -> None:
    watch, _ = watched(program)
    program.with_name("neighbour_of_it.py").unlink()
    looks = [watch.changed() for _ in range(GONE + 1)]
    assert looks.index(True) == GONE - 1


def test_any_file_beside_it_may_mend_what_cannot_be_loaded(program: Path) -> None:
    watch, _ = watched(program)
    before = sys.modules["neighbour_of_it"]
    save(program, PROGRAM.replace("import neighbour_of_it", "import neighbour_of_it, broken_one"))
    broken = program.with_name("broken_one.py")
    save(broken, "def (")
    assert [watch.changed(), watch.changed()] == [False, True]
    with pytest.raises(DeclarationError), anew(program):
        programs.load(program)
    assert sys.modules["neighbour_of_it"] is before
    watch.loaded(whole=False)
    save(broken, "good = 1")
    assert [watch.changed(), watch.changed()] == [False, True]
    with anew(program):
        programs.load(program)


def test_a_file_that_was_saved_while_it_was_loaded_is_loaded_again(program: Path) -> None:
    watch = Watch(program)
    programs.load(program)
    program.with_name("neighbour_of_it.py").write_text('NAME = "third"')
    watch.loaded(whole=True)
    assert [watch.changed(), watch.changed()] == [False, True]
