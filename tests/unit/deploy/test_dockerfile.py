"""deploy/Dockerfile: clean by hadolint, pinned, without root and secrets; its recipe works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy" / "Dockerfile"
TARGETS = ("airflow", "spark", "penstock")


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, lines joined, comments left out."""
    text = "\n".join(line for line in FILE.read_text().splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage; the first one names what it is made from."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [(word, base)]
        else:
            found[[*found][-1]].append((word, rest))
    return found


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("hadolint")
    words = [str(command), "--failure-threshold", "style", str(file)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_hadolint_has_nothing_to_say() -> None:
    done = hadolint(FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_can_fail(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:latest\nADD x y\nUSER root\n")
    done = hadolint(wrong)
    assert done.returncode == 1
    assert {"DL3007", "DL3020", "DL3002"} <= {*re.findall(r"DL\d+", done.stdout)}


def test_there_is_one_base_with_its_whole_version() -> None:
    [(_, base)] = [found for found in stages()[""] if found[0] == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+\.\d+-slim-bookworm", base)
    bases = {stage[0][1] for name, stage in stages().items() if name}
    assert bases == {"${PYTHON}", "runtime"}


@pytest.mark.parametrize("target", TARGETS)
def test_it_runs_as_nobody_special(target: str) -> None:
    stage = stages()[target]
    assert stage[0][1] == "runtime"
    user = [rest for word, rest in stage if word == "USER"]
    assert user == ["10001:10001"]
    assert [word for word, _ in stage].index("USER") > max(
        n for n, (word, _) in enumerate(stage) if word in ("COPY", "RUN")
    )


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_watched_and_gets_signals(target: str) -> None:
    words = dict(stages()[target])
    assert words["HEALTHCHECK"]
    assert words["ENTRYPOINT"].startswith("[")  # no shell between the signal and the command


def test_every_package_is_locked() -> None:
    installs = [
        part
        for word, rest in instructions()
        if word == "RUN"
        for part in re.split(r"&&", rest)
        if "pip install" in part
    ]
    assert len(installs) == 5
    for part in installs:
        assert "--require-hashes -r" in part or "--no-deps --no-build-isolation ." in part


def test_nothing_is_added_and_nothing_secret_is_kept() -> None:
    words = [word for word, _ in instructions()]
    assert "ADD" not in words
    text = FILE.read_text()
    assert not re.search(r"(PASSWORD|SECRET|TOKEN)\w*=", text)
    assert text.count("apt-get install") == text.count("rm -rf /var/lib/apt/lists/*") == 1


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    for path in copied:
        assert (ROOT / path).exists()
        assert any(path == there or path.startswith(f"{there}/") for there in sent), path
    assert all((ROOT / path).exists() for path in sent)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may read; pytest closes its own to them, again and again."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["build", "build-spark", "build-airflow"])
def test_its_recipe_works_without_an_engine(stage: str, open_folder: Path) -> None:
    """Run each COPY and RUN of a stage in a folder, with a Python of here for the base's."""
    python = open_folder / "python"
    python.mkdir()
    (python / "python").symlink_to(for_everybody())
    src = open_folder / "src"
    (open_folder / "opt").mkdir()
    src.mkdir()
    for word, rest in stages()[stage]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, src / target, alone=len(sources) == 1)
        elif word == "RUN":
            here = rest.replace("/opt/", f"{open_folder}/opt/")
            path = f"{python}{os.pathsep}{os.environ['PATH']}"
            env = {**os.environ, "PATH": path, "PYTHONWARNINGS": "default"}
            subprocess.run(["sh", "-euc", here], cwd=src, env=env, check=True, timeout=600)
    if stage == "build-airflow":
        done = as_nobody([f"{open_folder}/opt/airflow/bin/airflow", "version"], open_folder)
        assert done.stdout.strip() == "3.3.2", done.stderr
        return
    (src / "people.py").write_text(PROGRAM)
    command = [
        f"{open_folder}/opt/penstock/bin/penstock",
        "run",
        "people.py",
        "--until-idle",
        "--json",
    ]
    done = as_nobody(command, open_folder)
    assert done.returncode == 0, done.stderr
    [lane] = [lane for lane in json.loads(done.stdout)["lanes"] if lane["lane"] == "people@one"]
    assert lane["counts"]["written"] == 100


PROGRAM = """
import penstock as ps


class Person(ps.Contract):
    id: int = ps.key()


pipeline = ps.Pipeline("people")
people = pipeline.source(ps.Generator(Person, rows=100), Person, land="raw").topic("people")
people.sink("people", store="one")
"""


def for_everybody() -> Path:
    """A Python that other users may run, too, if there is one; else that of this environment."""
    mine = Path(sys.base_prefix) / "bin" / "python3"
    candidates = (mine, Path("/usr/bin/python3.11"))
    reachable = (found for found in candidates if found.exists() and is_open(found.resolve()))
    return next(reachable, mine)


def is_open(file: Path) -> bool:
    return all(part.stat().st_mode & 0o1 for part in (file, *file.parents))


def copy(source: Path, target: Path, *, alone: bool) -> None:
    """As COPY does: a folder's content, or a file into a folder or under a name."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        folder = target if not alone or target.suffix == "" else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder)


def as_nobody(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without rights, who like that of the images may write to /data only.

    Not as number 10001: PostgreSQL looks its user up, and here that one has no name.
    """
    home = folder / "data"
    home.mkdir()
    privileged = os.geteuid() == 0 and is_open(Path(words[0]).with_name("python").resolve())
    if privileged:
        shutil.chown(home, "nobody")
    return subprocess.run(
        words,
        cwd=folder / "src",
        env={
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "AIRFLOW_HOME": f"{home}/airflow",
            "PENSTOCK_DATA": f"{home}/.penstock",
        },
        user="nobody" if privileged else None,
        group="nogroup" if privileged else None,
        extra_groups=[] if privileged else None,
        capture_output=True,
        text=True,
        timeout=120,
    )
