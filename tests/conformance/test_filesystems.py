"""What every file system promises: on disk, in S3, in HDFS."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.errors import Refused
from penstock.filesystems import FileSystem, open_url

HOSTILE = ["a b", "a=b%2Fc", "ünï/cødé", "quote'\"", "plus+and&more?#", "x" * 200, "*[a-z]{1}"]


class FileSystemConformance:
    def test_a_file_comes_back(self, files: FileSystem) -> None:
        files.write("a/b.bin", [b"one", b"two"])
        assert files.read("a/b.bin") == b"onetwo"

    def test_a_part_is_read(self, files: FileSystem) -> None:
        files.write("f", [b"0123456789"])
        assert [files.read("f", 3, 4), files.read("f", 8, 9), files.read("f", 12, 1)] == [
            b"3456",
            b"89",
            b"",
        ]
        assert files.read("f", 7) == b"789"
        assert files.read("f", 0, 0) == b""

    def test_an_empty_file_is_a_file(self, files: FileSystem) -> None:
        files.write("empty", [])
        assert files.read("empty") == b""
        assert [entry.size for entry in files.list()] == [0]

    def test_a_write_replaces(self, files: FileSystem) -> None:
        files.write("f", [b"old"])
        before = files.stat("f")
        files.write("f", [b"newer"])
        after = files.stat("f")
        assert files.read("f") == b"newer"
        assert before and after
        assert before.version != after.version

    def test_a_large_file_in_parts(self, files: FileSystem) -> None:
        files.write("large", (bytes([i]) * 1_000_003 for i in range(20)))
        found = files.stat("large")
        assert found
        assert found.size == 20 * 1_000_003
        assert files.read("large", 7 * 1_000_003 - 1, 2) == b"\x06\x07"

    def test_nothing_is_left_when_the_parts_fail(self, files: FileSystem) -> None:
        def parts() -> Iterator[bytes]:
            yield b"x" * 9_000_000
            raise RuntimeError("broken off")

        with pytest.raises(RuntimeError, match="broken off"):
            files.write("half", parts())
        assert list(files.list()) == []

    def test_list_shows_what_is_below_a_folder(self, files: FileSystem) -> None:
        for name in ("a/1", "a/b/2", "ab/3", "4"):
            files.write(name, [name.encode()])
        assert {entry.name for entry in files.list("a")} == {"a/1", "a/b/2"}
        assert {entry.name for entry in files.list()} == {"a/1", "a/b/2", "ab/3", "4"}
        assert list(files.list("no/such")) == []

    def test_an_entry_tells_size_and_time(self, files: FileSystem) -> None:
        files.write("a/f", [b"12345"])
        (entry,) = files.list("a")
        assert entry == files.stat("a/f")
        assert entry.size == 5
        assert abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=10)
        assert files.stat("a") is None
        assert files.stat("a/g") is None

    def test_create_is_exclusive(self, files: FileSystem) -> None:
        files.create("m/1", b"first")
        with pytest.raises(FileExistsError):
            files.create("m/1", b"second")
        assert files.read("m/1") == b"first"
        assert [entry.name for entry in files.list()] == ["m/1"]

    def test_of_many_who_create_one_succeeds(self, files: FileSystem) -> None:
        def attempt(number: int) -> bool:
            try:
                files.create("m/1", str(number).encode())
            except FileExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(attempt, range(8)))
        assert won.count(True) == 1
        assert files.read("m/1") == str(won.index(True)).encode()

    def test_rename_moves(self, files: FileSystem) -> None:
        files.write("hidden/f", [b"rows"])
        files.rename("hidden/f", "seen/k=v/f")
        assert [entry.name for entry in files.list()] == ["seen/k=v/f"]
        assert files.read("seen/k=v/f") == b"rows"

    def test_rename_does_not_replace(self, files: FileSystem) -> None:
        files.write("old", [b"old"])
        files.write("new", [b"new"])
        with pytest.raises(FileExistsError):
            files.rename("old", "new")
        assert files.read("new") == b"new"

    def test_what_is_not_there(self, files: FileSystem) -> None:
        with pytest.raises(FileNotFoundError):
            files.read("none")
        with pytest.raises(FileNotFoundError):
            files.rename("none", "other")
        files.delete(["none", "no/such/folder"])

    def test_delete_deletes(self, files: FileSystem) -> None:
        for name in ("a/1", "a/2", "b"):
            files.write(name, [b""])
        files.delete(["a/1", "b"])
        assert [entry.name for entry in files.list()] == ["a/2"]
        files.delete([])

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, files: FileSystem, name: str) -> None:
        files.write(f"d/{name}", [b"x"])
        assert [entry.name for entry in files.list("d")] == [f"d/{name}"]
        files.rename(f"d/{name}", f"e/{name}")
        assert files.read(f"e/{name}") == b"x"
        files.create(f"c/{name}", b"y")
        files.delete([f"e/{name}", f"c/{name}"])
        assert list(files.list()) == []

    @pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a//b", "a/", "./a", "a\0b"])
    def test_names_stay_below_the_root(self, files: FileSystem, name: str) -> None:
        with pytest.raises(Refused, match="no name of a file"):
            files.write(name, [b""])


class TestLocal(FileSystemConformance):
    @pytest.fixture
    def files(self, tmp_path: Path) -> FileSystem:
        return open_url((tmp_path / "not yet" / "there").as_uri())


class TestS3(FileSystemConformance):
    @pytest.fixture
    def files(self, s3_bucket: str) -> FileSystem:
        return open_url(s3_bucket.replace("?", "/pre/fix?"))


class TestHdfs(FileSystemConformance):
    @pytest.fixture
    def files(self, hdfs: str) -> FileSystem:
        return open_url(f"{hdfs}/test-{uuid.uuid4().hex[:12]}")
