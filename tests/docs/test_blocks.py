"""Run what the documentation shows.

Each page has a folder of its own, where its blocks run one after the other:

* ```` ```python users.py ```` and any other block with a file's name writes that file;
* ```` ```python ```` runs as a program;
* ```` ```sh ```` runs line by line and must succeed; after `# exits with 1` it must exit so;
* ```` ```text ```` and blocks with the word `example` are not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.markdown import ROOT, Block, blocks, pages
from tests.stack.servers import require

SKIPPED = {"text", "json", "mermaid", "", "diff", "sql"}
EXITS = re.compile(r"#\s*exits with (\d+)")
STARTED = re.compile(r"penstock services up (.+)")
KEPT = ("HOME", "LANG", "XDG_CACHE_HOME", "PENSTOCK_CACHE", "JAVA_HOME")


def is_run(block: Block) -> bool:
    return "example" not in block.words and (bool(block.words) or block.language not in SKIPPED)


OURS = [page for page in pages() if "examples" not in page.parts]  # those have tests of their own
RUN = [page for page in OURS if any(is_run(block) for block in blocks(page))]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="penstock-docs-"))
    yield path
    subprocess.run(["penstock", "services", "down"], cwd=path, env=environment(), check=False)
    shutil.rmtree(path, ignore_errors=True)


def environment(database: str = "") -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PATH": path, "DATABASE_URL": database, "PYTHONWARNINGS": "default"}


def expected(block: Block) -> int:
    exits = EXITS.search(block.text)
    return int(exits[1]) if exits else 0


def run(block: Block, folder: Path, env: dict[str, str]) -> None:
    command = {
        "sh": ["bash", "-eu", "-o", "pipefail", "-c", block.text],
        "python": [sys.executable, "-c", block.text],
    }[block.language]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    where = f"{block.page.relative_to(ROOT)}:{block.line}"
    said = f"{where}\n{block.text}\nstdout: {done.stdout}\nstderr: {done.stderr}"
    assert done.returncode == expected(block), said


def require_servers(page: Path) -> None:
    """Skip a page whose servers cannot be had here; where everything must be had, fail."""
    texts = [block.text for block in blocks(page) if is_run(block)]
    require(*(name for text in texts for line in STARTED.findall(text) for name in line.split()))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page: Path, folder: Path, database: str) -> None:
    require_servers(page)
    for block in filter(is_run, blocks(page)):
        if block.words:
            (folder / block.words[0]).write_text(block.text)
        else:
            run(block, folder, environment(database))
