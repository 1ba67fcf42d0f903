from __future__ import annotations

import fcntl
import io
import tarfile
from pathlib import Path

import pytest

from penstock.errors import Refused, Unavailable
from penstock.services.artifacts import unpack
from penstock.services.artifacts.unpack import is_unpacked


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return written(tmp_path / "app.tar.gz", "lib/a.jar", "b.jar")


def written(path: Path, *names: str, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.uid, entry.mode = 12345, 0o6777
            entry.size = len(name)
            if link:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, link, 0
            tar.addfile(entry, io.BytesIO(name.encode()))
    return path


def test_it_comes_whole_and_is_recognised(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "app"
    assert not is_unpacked(folder)
    unpack.unpack(archive, folder)
    assert (folder / "lib" / "a.jar").read_bytes() == b"lib/a.jar"
    assert is_unpacked(folder)
    assert (folder / "b.jar").stat().st_mode == (archive.stat()).st_mode, "not as it was packed"


DAMAGES = {
    "changed": ("b.jar", "b.jat"),
    "list": (".penstock-files.json", "{}{"),
    "empty": (".penstock-files.json", "{}"),
    "no list": (".penstock-files.json", "3"),
}


@pytest.mark.parametrize("damage", ["removed", *DAMAGES])
def test_damage_is_noticed_and_mended(archive: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "app"
    unpack.unpack(archive, folder)
    if damage == "removed":
        (folder / "lib" / "a.jar").unlink()
    else:
        name, content = DAMAGES[damage]
        (folder / name).write_text(content)
    assert not is_unpacked(folder)
    unpack.unpack(archive, folder)
    assert is_unpacked(folder)


def test_what_a_killed_process_left_does_not_get_in(archive: Path, tmp_path: Path) -> None:
    left = tmp_path / "app.part" / "left.jar"
    left.parent.mkdir()
    left.touch()
    unpack.unpack(archive, tmp_path / "app")
    assert {path.name for path in tmp_path.rglob("*.jar")} == {"a.jar", "b.jar"}


@pytest.mark.parametrize("name", ["../outside", "lib/../../outside", "/tmp/penstock-outside"])
def test_nothing_gets_outside(tmp_path: Path, name: str) -> None:
    archive = written(tmp_path / "evil.tar.gz", name)
    with pytest.raises(Refused, match="leads outside"):
        unpack.unpack(archive, tmp_path / "cache" / "app")
    assert not Path("/tmp/penstock-outside").exists()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["app.lock", "evil.tar.gz"]


@pytest.mark.parametrize("link", ["/etc/passwd", "../../outside"])
def test_no_link_leads_outside(tmp_path: Path, link: str) -> None:
    archive = written(tmp_path / "evil.tar.gz", "link", link=link)
    with pytest.raises(Refused, match="is a link"):
        unpack.unpack(archive, tmp_path / "app")
    assert not (tmp_path / "app").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.tar.gz").write_bytes(b"no")
    with pytest.raises(Refused, match="cannot be unpacked"):
        unpack.unpack(tmp_path / "no.tar.gz", tmp_path / "app")


def test_a_stopped_process_is_not_waited_for_for_ever(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_PATIENCE", 0.1)
    with (tmp_path / "app.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="stopped penstock"):
            unpack.unpack(archive, tmp_path / "app")
