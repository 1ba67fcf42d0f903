from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from penstock.engines.spark import shipping
from penstock.errors import ProfileError, Refused


def write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}\n")


def packed(program: Path, *files: str) -> list[str]:
    archive = program.parent.parent / "packed.zip"
    shipping.pack(program, files, archive)
    with zipfile.ZipFile(archive) as opened:
        return sorted(opened.namelist())


def test_modules_and_packages_beside_the_program_travel(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder, "shop.py", "beside.py", "rules/__init__.py", "rules/deep/more.py")
    write(folder, "rules/prices.json", "data.csv", "data/year.csv", "notes/README.md")
    write(folder, ".git/config.py", "rules/__pycache__/x.pyc", "rules/.cache/y.py")
    write(folder, "venv/pyvenv.cfg", "venv/__init__.py", "venv/lib/z.py")
    assert packed(folder / "shop.py") == [
        "beside.py",
        "rules/__init__.py",
        "rules/deep/more.py",
        "rules/prices.json",
        "shop.py",
    ]


def test_files_of_the_profile_keep_their_places(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder, "shop.py", "data/year.csv")
    write(tmp_path, "elsewhere/rates.csv")
    elsewhere = str(tmp_path / "elsewhere" / "rates.csv")
    assert packed(folder / "shop.py", "data/year.csv", elsewhere) == [
        "data/year.csv",
        "rates.csv",
        "shop.py",
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder, "shop.py")
    with pytest.raises(ProfileError, match=r"rates\.csv is to be shipped"):
        packed(folder / "shop.py", "rates.csv")


def test_what_is_huge_stays_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shop"
    write(folder, "shop.py", "rules/__init__.py", "rules/model.bin")
    monkeypatch.setattr(shipping, "_HUGE", 16)
    (folder / "rules" / "model.bin").write_bytes(b"x" * 17)
    assert "rules/model.bin" not in packed(folder / "shop.py")
    assert "rules/model.bin" in packed(folder / "shop.py", "rules/model.bin")
    monkeypatch.setattr(shipping, "_MOST", 4)
    with pytest.raises(Refused, match="a folder of its own"):
        packed(folder / "shop.py")
