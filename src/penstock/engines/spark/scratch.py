"""Where a run's Spark keeps what is of no use afterwards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_NAME = "spark-"


def make(folder: Path) -> Path:
    """Make an empty folder of this process's own; remove those of processes that were killed.

    Args:
        folder: Where runs of this machine have theirs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_NAME}*"):
        number = left.name.removeprefix(_NAME)
        if number == str(os.getpid()) or not (number.isdigit() and psutil.pid_exists(int(number))):
            shutil.rmtree(left, ignore_errors=True)
    made = own(folder)
    made.mkdir(mode=0o700)
    return made


def own(folder: Path) -> Path:
    """Say which folder is this process's.

    Args:
        folder: Where runs of this machine have theirs.
    """
    return folder.absolute() / f"{_NAME}{os.getpid()}"
