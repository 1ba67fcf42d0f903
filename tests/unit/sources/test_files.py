"""The `Files` source on real files: growing, rotated, truncated, replaced, joined by others."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.sources.doubles import StepClock

from penstock.errors import DeclarationError, Refused, Unavailable
from penstock.interfaces import Cursor
from penstock.sources import files, forms
from penstock.sources.files import Files
from penstock.sources.forms import Csv


class Reader:
    """Polls as the engine does and keeps what was landed, with cursors as JSON holds them."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float | None = 1.0,
        format: str | Csv = "ndjson",
    ) -> None:
        self.source = Files(path, every=every, format=format)
        self.cursor: Cursor = None
        self.bodies: list[bytes] = []
        self.notes: list[str] = []

    def poll(self, most: int = 1000) -> bytes:
        """Land at most so many responses of a poll; the rest is lost as in a crash."""
        fresh: list[bytes] = []
        for response in self.source.poll(self.cursor, StepClock()):
            if len(fresh) == most:
                break
            self.bodies.append(response.body)
            fresh.append(response.body)
            self.cursor = json.loads(json.dumps(response.cursor))
            if "note" in response.headers:
                self.notes.append(response.headers["note"])
        return b"".join(fresh)


def test_a_growing_file_is_taken_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(b'{"n":1}\n{"n":2}\n{"n"')
    reader = Reader(file)
    assert reader.poll() == b'{"n":1}\n{"n":2}\n'
    assert reader.poll() == b""
    with file.open("ab") as more:
        more.write(b":3}\n\n")
    assert reader.poll() == b'{"n":3}\n\n'


def test_read_once_a_last_line_needs_no_newline(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"1\n2")
    reader = Reader(tmp_path / "a.ndjson", every=None)
    assert reader.poll() == b"1\n2"
    assert reader.poll() == b""


def test_bytes_are_untouched(tmp_path: Path) -> None:
    content = b"\xff\xfe\x00\r\n\xef\xbb\xbf{}\n\n"
    (tmp_path / "a").write_bytes(content)
    assert Reader(tmp_path / "a").poll() == content


def test_a_folder_is_read_by_name_and_new_files_join(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"b\n")
    (tmp_path / "a").write_bytes(b"a\n")
    (tmp_path / ".hidden").write_bytes(b"no\n")
    (tmp_path / "folder").mkdir()
    reader = Reader(tmp_path)
    assert reader.poll() == b"a\nb\n"
    (tmp_path / "0").write_bytes(b"0\n")
    assert reader.poll() == b"0\n"


def test_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.ndjson").write_bytes(b"a\n")
    (tmp_path / "x" / "a.txt").write_bytes(b"no\n")
    (tmp_path / "[odd]").write_bytes(b"odd\n")
    assert Reader(tmp_path / "*" / "*.ndjson").poll() == b"a\n"
    assert Reader(tmp_path / "**" / "*.ndjson").poll() == b"a\n"
    assert Reader(tmp_path / "[odd]").poll() == b"odd\n"


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.ndjson"
    Path(os.fsdecode(name)).write_bytes(b"1\n")
    reader = Reader(tmp_path)
    assert (reader.poll(), reader.poll()) == (b"1\n", b"")


def test_a_file_with_two_names_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "app-1.log").write_bytes(b"1\n")
    (tmp_path / "current.log").symlink_to(tmp_path / "app-1.log")
    reader = Reader(tmp_path)
    assert (reader.poll(), reader.poll()) == (b"1\n", b"")


def test_a_crash_between_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 10)
    content = b"".join(b"%d\n" % n for n in range(100))
    (tmp_path / "a").write_bytes(content)
    reader = Reader(tmp_path)
    while reader.poll(most=1):
        pass
    assert b"".join(reader.bodies) == content
    assert max(map(len, reader.bodies)) <= 10


def test_a_line_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 10)
    (tmp_path / "a").write_bytes(b"x" * 95 + b"\ny\n")
    assert Reader(tmp_path).poll() == b"x" * 95 + b"\ny\n"


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 10)
    monkeypatch.setattr(forms, "_LONGEST_LINE", 50)
    (tmp_path / "a").write_bytes(b"1\n" + b"x" * 95)
    with pytest.raises(Refused, match=r"at byte 2 of .*, a line is over 50 bytes"):
        Reader(tmp_path).poll()


def test_a_renamed_file_goes_on_where_it_stood(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"1\n2\n")
    reader = Reader(str(tmp_path / "app.log*"))
    reader.poll()
    with log.open("ab") as more:
        more.write(b"3\n")
    log.rename(tmp_path / "app.log.1")
    log.write_bytes(b"4\n")
    assert reader.poll() == b"4\n3\n"
    assert reader.notes == []


def test_a_chain_of_rotations_with_a_crash_in_it(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"1\n")
    reader = Reader(str(tmp_path / "app.log*"))
    reader.poll()
    for n in (2, 3, 4):
        if (tmp_path / "app.log.1").exists():
            (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
        log.rename(tmp_path / "app.log.1")
        log.write_bytes(b"%d\n" % n)
        assert reader.poll(most=1) == b"%d\n" % n
        assert reader.poll() == b""


def test_a_truncated_file_begins_anew_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"1\n2\n3\n")
    reader = Reader(log)
    reader.poll()
    log.write_bytes(b"")
    assert reader.poll() == b""
    assert reader.poll() == b""
    assert [r.getMessage() for r in caplog.records] == [
        f"{log} shrank after byte 6; read from its beginning"
    ]
    with log.open("ab") as more:
        more.write(b"4\n")
    assert reader.poll() == b"4\n"
    assert reader.notes == ["shrank after byte 6; read from its beginning"]
    assert reader.poll() == b""


def test_a_replaced_file_begins_anew(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"1\n2\n")
    reader = Reader(log)
    reader.poll()
    log.write_bytes(b"3\n4\n5\n")
    assert reader.poll() == b"3\n4\n5\n"
    assert reader.notes == ["was replaced after byte 4; read from its beginning"]


def test_a_file_rewritten_with_more_at_its_end_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "export.ndjson"
    log.write_bytes(b"1\n2\n")
    reader = Reader(log)
    reader.poll()
    (tmp_path / "new").write_bytes(b"1\n2\n3\n")
    (tmp_path / "new").replace(log)
    assert reader.poll() == b"3\n"
    assert reader.notes == []


def test_a_new_file_in_the_place_of_an_equal_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same\n")
    reader = Reader(tmp_path)
    reader.poll()
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_bytes(b"same\n")  # often gets the same inode
    os.utime(tmp_path / "b", ns=(1, 1))
    assert reader.poll() == b"same\n"


def test_what_cannot_be_read_is_waited_for_after_the_others(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "gone")
    with pytest.raises(Unavailable, match="gone-too cannot be read: No such file"):
        Reader(tmp_path / "gone-too").poll()
    with pytest.raises(Unavailable, match="create it or correct"):
        Reader(tmp_path / "nowhere" / "*.ndjson").poll()


def test_one_unreadable_file_does_not_hold_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1\n")
    (tmp_path / "b").write_bytes(b"2\n")
    opened = os.open

    def refuse(path: Path, flags: int) -> int:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    reader = Reader(tmp_path)
    with pytest.raises(Unavailable, match="a cannot be read: Permission denied"):
        reader.poll()
    assert reader.bodies == [b"2\n"]
    monkeypatch.undo()
    assert reader.poll() == b"1\n"


def test_check_opens_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    Files(tmp_path).check()
    with pytest.raises(Unavailable):
        Files(tmp_path / "b").check()


def test_declarations() -> None:
    assert Files("x", every="1s").every == 1.0
    assert Files("x").describe() == "files x"
    wrong: list[Callable[[], Any]] = [lambda: Files(""), lambda: Files("x", every=0)]
    for declare in wrong:
        with pytest.raises(DeclarationError):
            declare()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40))
def test_any_bytes_in_any_pieces(lines: list[bytes], chunk: int) -> None:
    import tempfile

    content = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        Path(folder, "a").write_bytes(content)
        reader = Reader(folder)
        while reader.poll(most=1):
            assert reader.bodies[-1].endswith(b"\n")
        assert b"".join(reader.bodies) == content


class Rotations(RuleBasedStateMachine):
    """Appends, half lines, rotations, truncations and crashes in any order."""

    def __init__(self) -> None:
        import tempfile

        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = Path(self.folder.name, "app.log")
        self.log.touch()
        self.reader = Reader(str(self.log) + "*")
        self.written: list[bytes] = []
        self.open_line = b""
        self.number = 0
        self.rotated = False

    def _append(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    @rule(lines=st.integers(1, 5), size=st.integers(0, 30))
    def append(self, lines: int, size: int) -> None:
        for _ in range(lines):
            self.number += 1
            line = self.open_line + b"%d-%s\n" % (self.number, b"x" * size)
            self._append(line[len(self.open_line) :])
            self.written.append(line)
            self.open_line = b""

    @rule()
    def half_a_line(self) -> None:
        self.number += 1
        half = b"%d-half-" % self.number
        self._append(half)
        self.open_line += half

    @initialize(rotated=st.booleans())
    def choose(self, rotated: bool) -> None:
        """A log is rotated, or an export rewritten: a file that both happens to is not known."""
        self.rotated = rotated

    @rule()
    @precondition(lambda self: self.rotated and not self.open_line)
    def rotate(self) -> None:
        for n in range(30, 0, -1):
            older = Path(f"{self.log}.{n}")
            if older.exists():
                older.rename(f"{self.log}.{n + 1}")
        self.log.rename(f"{self.log}.1")
        self.log.touch()

    @rule()
    @precondition(lambda self: not self.open_line)
    def truncate(self) -> None:
        self.reader.poll()
        os.truncate(self.log, 0)
        self.reader.poll()

    @rule()
    @precondition(lambda self: not self.rotated)
    def rewrite_by_rename(self) -> None:
        copy = Path(self.folder.name, "copy")
        copy.write_bytes(self.log.read_bytes())
        copy.replace(self.log)

    @rule(most=st.integers(0, 3))
    def poll_and_crash(self, most: int) -> None:
        self.reader.poll(most)

    @rule()
    def poll(self) -> None:
        self.reader.poll()
        assert sorted(self._landed()) == sorted(self.written)

    def _landed(self) -> list[bytes]:
        return b"".join(self.reader.bodies).splitlines(keepends=True)

    @invariant()
    def nothing_twice_and_nothing_invented(self) -> None:
        landed = self._landed()
        assert len(set(landed)) == len(landed)
        assert set(landed) <= set(self.written)

    def teardown(self) -> None:
        try:
            self.poll()
        finally:
            self.folder.cleanup()


Rotations.TestCase.settings = settings(
    deadline=None, max_examples=80, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
TestRotations = Rotations.TestCase


# --- CSV -----------------------------------------------------------------------------------------


def test_csv_is_taken_in_whole_records_with_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_CHUNK", 20)
    head, records = b'\xef\xbb\xbf"id",b\r\n', [b'%d,"x\n""y"\n' % n for n in range(50)]
    (tmp_path / "a.csv").write_bytes(head + b"".join(records))
    reader = Reader(tmp_path / "a.csv", None, "csv")
    while reader.poll(most=1):
        pass
    assert all(body.startswith(head) for body in reader.bodies)
    assert b"".join(body.removeprefix(head) for body in reader.bodies) == b"".join(records)
    assert len(reader.bodies) > 10


def test_a_growing_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id,b")
    reader = Reader(file, format="csv")
    for more, taken in (
        (b"\n", b""),
        (b'1,"x', b""),
        (b"\n", b""),
        (b'y"\n2', b'id,b\n1,"x\ny"\n'),
        (b",\n", b"id,b\n2,\n"),
    ):
        with file.open("ab") as open_file:
            open_file.write(more)
        assert reader.poll() == taken


def test_csv_without_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 8)
    (tmp_path / "a").write_bytes(b"1;2\n3;4\n5;6\n7;8")
    reader = Reader(tmp_path, None, Csv(delimiter=";", columns=("a", "b")))
    assert reader.poll() == b"1;2\n3;4\n5;6\n7;8"
    assert reader.source.framing.columns == ("a", "b")


def test_a_quote_that_is_not_closed_holds_up_a_file_for_so_long_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_CHUNK", 100)
    monkeypatch.setattr(forms, "_LONGEST_RECORD", 300)
    body = b'a,b\n1,"2\n' + b"3,4\n" * 200
    (tmp_path / "a").write_bytes(body)
    reader = Reader(tmp_path, format="csv")
    reader.poll()
    assert reader.bodies[0] == body[:9]
    assert b"".join([reader.bodies[0], *(b[4:] for b in reader.bodies[1:])]) == body


@pytest.mark.parametrize("body", [b'"a,b\n1,2\n', b"a,b"])
def test_what_has_no_header_is_landed_when_nothing_more_comes(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "a").write_bytes(body)
    assert Reader(tmp_path / "a", format="csv").poll() == b""
    assert Reader(tmp_path / "a", None, "csv").poll() == body


def test_a_piece_of_two_versions_is_never_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is rewritten in place, with as many bytes, after a part of a piece was read."""
    monkeypatch.setattr(files, "_CHUNK", 10)
    file = tmp_path / "a"
    versions = [b"%d" % n * 25 + b"\n" + b"%d" % n * 5 + b"\n" for n in range(6)]
    file.write_bytes(versions[0])
    rest = iter(versions[1:])
    read, reads = os.pread, itertools.count(1)

    def pread(descriptor: int, size: int, at: int) -> bytes:
        block = read(descriptor, size, at)
        if next(reads) % 3 == 0 and (version := next(rest, b"")):
            file.write_bytes(version)
        return block

    monkeypatch.setattr(os, "pread", pread)
    reader = Reader(file)
    waited = 0
    for _ in range(20):
        try:
            reader.poll()
        except Unavailable as error:
            assert "was changed while it was read" in str(error)
            waited += 1
    assert waited > 0
    assert all(len(set(body.replace(b"\n", b""))) == 1 for body in reader.bodies)
    assert b"".join(reader.bodies).endswith(versions[-1])


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Files("x", format="xml"),
        lambda: Csv(delimiter=""),
        lambda: Csv(delimiter=";;"),
        lambda: Csv(delimiter='"'),
        lambda: Csv(columns="id"),  # type: ignore[arg-type]
        lambda: Csv(columns=("id", "")),
    ],
)
def test_wrong_forms(declare: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError) as caught:
        declare()
    assert caught.value.file == __file__
