"""Completion as shells do it: the script that `--show-completion` prints, in a real shell."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from penstock.cli import completing
from penstock.services import table

BIN = Path(sys.executable).parent
TOML = '[profiles.stack]\nhome = "embedded:"\n[profiles.cluster]\nhome = "embedded:"\n'
CASES = [
    ("penstock r", {"reconcile", "run"}),
    ("penstock run pro", {"program.py"}),
    ("penstock run sub/", {"sub/inner.py", "sub/deeper/"}),
    ("penstock run program.py --profile ", {"embedded", "stack", "cluster"}),
    ("penstock run program.py --profile st", {"stack"}),
    ("penstock init x --template t", {"topic-to-table"}),
    ("penstock services up ca", {"cassandra"}),
    ("penstock services up kafka re", {"registry"}),
    ("penstock deadletters pr", {"preview"}),
    ("penstock run --until", {"--until-idle"}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "penstock.toml").write_text(TOML)
    for name in ("program.py", "notes.txt", "sub/inner.py", "sub/deeper/x.py", "sub/data.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    return tmp_path


def asked(folder: Path, *command: str, **variables: str) -> str:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    kept = {"PATH": path, "HOME": str(folder), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def script(folder: Path, shell: str) -> str:
    return asked(folder, str(BIN / "penstock"), "--show-completion", shell)


@pytest.mark.parametrize(("line", "expected"), CASES, ids=[line for line, _ in CASES])
def test_bash_completes(folder: Path, line: str, expected: set[str]) -> None:
    words = line.split(" ")
    quoted = " ".join(f'"{word}"' for word in words)
    completed = asked(
        folder,
        "bash",
        "-c",
        f"{script(Path.home(), 'bash')}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        '_penstock_completion penstock; printf "%s\\n" "${COMPREPLY[@]}"',
    )
    assert set(completed.split()) == expected


@pytest.mark.parametrize("shell", [s for s in ("bash", "zsh", "fish") if shutil.which(s)])
def test_the_script_is_one_of_that_shell(folder: Path, shell: str) -> None:
    written = folder / "script"
    written.write_text(script(folder, shell))
    assert "penstock" in written.read_text()
    asked(folder, shell, "-n", str(written))


def test_zsh_and_fish_are_told_the_same(folder: Path) -> None:
    program = str(BIN / "penstock")
    variables = {"_PENSTOCK_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "penstock run p"}
    assert "program.py" in asked(folder, program, **variables)
    variables = {
        "_PENSTOCK_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": "penstock run program.py --profile cl",
    }
    assert asked(folder, program, **variables).strip() == "cluster"


def test_a_broken_profile_file_has_no_profiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for text in ("[", "profiles = 3", 'profiles = "abc"', "", "[profiles]\n"):
        Path("penstock.toml").write_text(text)
        assert completing.profiles("") == ["embedded"]


def test_services_are_those_that_there_are() -> None:
    assert set(completing.SERVICES) >= {*table.STACK, "embedded", "spark"}
