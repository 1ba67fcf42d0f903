"""New projects: what is written, and what is refused. The projects run in tests/live/cli."""

import json
import os
import pty
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.docs.markdown import ROOT
from typer.testing import CliRunner

from penstock import pipeline as programs
from penstock.cli import scaffold
from penstock.cli.main import app
from penstock.errors import Refused

ANY = "api-to-table"


@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_a_project_has_all_that_was_promised(tmp_path: Path, template: str) -> None:
    written = scaffold.create(tmp_path / "shop", template)
    promised = {
        ".github/workflows/check.yaml",
        ".gitignore",
        "README.md",
        "penstock.toml",
        "pipeline.py",
        "requirements.txt",
        "test_pipeline.py",
    }
    assert promised <= set(written)
    for name in written:
        text = (tmp_path / "shop" / name).read_text()
        assert text.strip()
        assert "@name@" not in text
        assert "@title@" not in text
        assert "@version@" not in text
    assert programs.load(tmp_path / "shop/pipeline.py").name == "shop"


@pytest.mark.parametrize(
    ("folder", "pipeline"),
    [
        ("données été", "données_été"),
        ("class", "class"),
        ("7up", "7up"),
        ('say "hi"', 'say_"hi"'),
        ("back\\slash", "back\\slash"),
        ("{curly} $HOME @x@", "{curly}_$HOME_@x@"),
        ("a\nb\x1b[2J", "a_b_[2J"),
        ("水" * 80, "水" * 16),
        ("  ", "pipeline"),
    ],
)
def test_any_folder_name_gives_a_program_that_loads(
    tmp_path: Path, folder: str, pipeline: str
) -> None:
    scaffold.create(tmp_path / folder, "topic-to-table")
    assert programs.load(tmp_path / folder / "pipeline.py").name == pipeline


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_a_pipeline_s_name_is_always_one(name: str) -> None:
    named = scaffold.pipeline_name(Path("/work") / name)
    assert named.isprintable()
    assert 0 < len(named.encode()) <= 48


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(Refused, match=r"holds 'README.md', and nothing is overwritten: name a new"):
        scaffold.create(tmp_path, ANY)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_an_empty_folder_will_do_and_so_will_a_fresh_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".venv").mkdir()
    assert "pipeline.py" in scaffold.create(tmp_path, ANY)
    with pytest.raises(Refused):
        scaffold.create(tmp_path, ANY)


def test_a_file_or_a_dangling_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(Refused, match="is no folder"):
            scaffold.create(tmp_path / name, ANY)


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "shop", Path("/proc/shop"), tmp_path / ("x" * 300)):
        with pytest.raises(Refused, match=r"no project can be written to|holds"):
            scaffold.create(folder, ANY)


def test_what_was_begun_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, mode: str = "r", **more: Any) -> object:
        if (path.name, mode) == ("pipeline.py", "x"):
            raise OSError(28, "No space left on device")
        return real(path, mode, **more)

    real = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Refused, match="No space left on device"):
        scaffold.create(tmp_path / "a/b", ANY)
    assert list(tmp_path.iterdir()) == []


def penstock(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["init", *words])
    return done.exit_code, done.output


def test_json_names_the_files(tmp_path: Path) -> None:
    code, said = penstock(str(tmp_path / "shop"), "--template", ANY, "--json")
    told = json.loads(said)
    assert (code, told["template"], told["pipeline"]) == (0, ANY, "shop")
    assert all((tmp_path / "shop" / name).is_file() for name in told["files"])


def test_without_a_terminal_the_template_must_be_named(tmp_path: Path) -> None:
    code, said = penstock(str(tmp_path / "shop"))
    assert code == 2
    assert "--template: api-to-table, files-to-lake, topic-to-table" in " ".join(said.split())
    code, said = penstock(str(tmp_path / "shop"), "--template", "lake")
    assert code == 1
    assert "there is no template 'lake'; there are api-to-table," in said
    assert not (tmp_path / "shop").exists()


def test_a_terminal_asks(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "penstock", "init", "shop"],
            cwd=tmp_path,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            os.write(master, b"3\n")
            out, err = process.communicate(timeout=60)
    finally:
        os.close(terminal)
        os.close(master)
    assert process.returncode == 0, err
    assert b"3  topic-to-table" in err
    assert b"penstock run writer.py" in out
    assert (tmp_path / "shop/writer.py").exists()


def test_a_wheel_holds_the_templates(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "src/penstock/templates"
    here = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(p.relative_to(ROOT / "src")) for p in here} <= packed
