"""Runs of a user's program in child processes, on the ground of a trial."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_WORDS = 1_500


@contextmanager
def running(
    program: Path, environment: Mapping[str, str], log: Path, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until it is idle, as its user does; the run is gone at the end of the block.

    Args:
        program: Its file.
        environment: Variables that it gets besides our own.
        log: What it says is added to this file.
        options: More of `penstock run`.
    """
    command = [sys.executable, "-m", "penstock", "run", str(program.absolute()), "--until-idle"]
    with log.open("ab") as said:
        child = subprocess.Popen(  # noqa: S603 - the user's own program, as the user runs it
            [*command, *options], env={**os.environ, **environment}, stdout=said, stderr=said
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def last_words(log: Path) -> str:
    """What a run said at its end."""
    return log.read_text(errors="replace")[-_WORDS:]
