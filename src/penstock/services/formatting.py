"""Makes a server's data folder by a program of the server's own, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from penstock.errors import Refused
from penstock.services.daemon import Launch


def formatted(name: str, data: Path, program: Callable[[Path], Launch]) -> None:
    """Make a data folder, unless it is there.

    Args:
        name: The server's, for messages.
        data: The folder, below the server's own.
        program: Says how to run what makes a folder of the name that it gets.

    Raises:
        Refused: The program failed; the message ends with what it said.
    """
    if data.exists():
        return
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # a starter was killed half-way
    made = subprocess.run(  # noqa: S603
        program(fresh).command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=data.parent,
        check=False,
    )
    if made.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise Refused(f"{name}'s data could not be made in {data.parent}:\n{made.stdout[-4000:]}")
    fresh.rename(data)
