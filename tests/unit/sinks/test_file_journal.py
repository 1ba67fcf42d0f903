"""Manifests: numbered without gaps by several writers, however they are paused and interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Refused, Unavailable
from penstock.filesystems import FileSystem, open_url
from penstock.records import Counts, LaneKey, Position, Progress
from penstock.sinks.files import journal, manifest
from penstock.sinks.files.journal import Journal
from penstock.sinks.files.manifest import File, Manifest, State

KEY = LaneKey("p", "log", "s", "t@lake")
numbers = st.integers(0, 2**62)
names = st.text(st.characters(codec="utf-8"), max_size=20)
places = st.builds(Position, numbers, numbers, numbers)
stands = st.builds(
    Progress, numbers, numbers, st.builds(Counts, numbers, numbers), st.none() | places, names
)
files = st.builds(File, names, names, st.dictionaries(st.integers(-1, 9), numbers), numbers)
steps = st.builds(
    Manifest,
    st.sampled_from(["open", "claim", "commit", "compact"]),
    names,
    names,
    st.none() | st.just({"format": "parquet"}),
    st.none() | st.tuples(names, names),
    st.dictionaries(st.tuples(st.builds(LaneKey, names, names, names, names), numbers), stands),
    st.lists(files, max_size=3).map(tuple),
    st.lists(names, max_size=3).map(tuple),
    st.lists(numbers, max_size=3).map(tuple),
)


@given(st.lists(steps, max_size=4))
def test_what_is_written_is_read(many: list[Manifest]) -> None:
    state = State()
    for step in many:
        assert manifest.read(manifest.write(step)) == step
        state = state.after(step)
        assert manifest.read_state(manifest.write_state(state)) == state


@pytest.fixture
def files_(tmp_path: Path) -> FileSystem:
    return open_url(tmp_path.as_uri())


def adding(number: int = 1) -> Callable[[State], Manifest]:
    """Move the progress of partition 0 on: shows that no step is lost or made twice."""

    def build(state: State) -> Manifest:
        before = state.progress.get((KEY, 0), Progress(0, 1))
        moved = replace(before, next=before.next + number)
        return Manifest("commit", "", progress={(KEY, 0): moved})

    return build


def stands_at(state: State) -> int:
    return state.progress[KEY, 0].next


def test_writers_take_turns(files_: FileSystem) -> None:
    writers = [Journal(files_, "m") for _ in range(3)]
    for turn in range(60):
        writers[turn % 3].append(adding())
    assert stands_at(Journal(files_, "m").load()) == 60


def test_old_manifests_are_removed_and_the_state_stays(files_: FileSystem) -> None:
    writer = Journal(files_, "m")
    for _ in range(237):
        writer.append(adding())
    assert len(list(files_.list("m"))) <= journal.EVERY + journal.KEPT + 1
    assert Journal(files_, "m").load() == writer.state
    assert stands_at(writer.state) == 237


def test_one_that_slept_while_its_number_was_removed_makes_no_step(files_: FileSystem) -> None:
    asleep = Journal(files_, "m")
    asleep.append(adding())
    awake = Journal(files_, "m")
    awake.load()
    for _ in range(205):
        awake.append(adding())
    assert asleep.state.number == 1
    assert files_.stat(f"m/{2:020d}.json") is None
    asleep.append(adding(1000))
    assert stands_at(Journal(files_, "m").load()) == 1206
    assert stands_at(asleep.state) == 1206
    assert asleep.state.number == 207


class Forgetful:
    """A file system that loses every second answer to a create that was done."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._count = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._files, name)

    def create(self, name: str, data: bytes) -> None:
        self._files.create(name, data)
        self._count += 1
        if self._count % 2:
            raise FileExistsError(name)  # what a retry inside of a library meets


def test_a_lost_answer_is_recognised(files_: FileSystem) -> None:
    writer = Journal(Forgetful(files_), "m")  # type: ignore[arg-type]
    for _ in range(10):
        writer.append(adding())
    assert stands_at(Journal(files_, "m").load()) == 10


def test_a_gap_is_refused(files_: FileSystem) -> None:
    writer = Journal(files_, "m")
    for _ in range(3):
        writer.append(adding())
    files_.delete([f"m/{2:020d}.json"])
    with pytest.raises(Refused, match="manifests are missing"):
        Journal(files_, "m").load()


def test_a_step_that_cannot_be_made_leaves_nothing(files_: FileSystem) -> None:
    def never(state: State) -> Manifest:
        raise Unavailable("no")

    with pytest.raises(Unavailable):
        Journal(files_, "m").append(never)
    assert list(files_.list()) == []
