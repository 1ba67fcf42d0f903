"""The user's program on its way to the executors, and how it is loaded there."""

from __future__ import annotations

import os
import platform
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from penstock.errors import DeclarationError, ProfileError, Refused
from penstock.pipeline import Pipeline
from penstock.pipeline import load as load_program
from penstock.profile.apart import VARIABLE

_HUGE = 10 << 20
_MOST = 100 << 20


@dataclass(frozen=True)
class Shipped:
    """How a task finds the program; plain, and the same for all tasks of a run.

    Args:
        folder: The name under which Spark unpacks it on each executor.
        program: The program's file in there.
        penstock: The driver's version of Penstock.
        namespace: What a trial puts before the pipeline's names; empty if it is none.
    """

    folder: str
    program: str
    penstock: str
    namespace: str


def shipped(program: Path, folder: str) -> Shipped:
    """Describe a program that is shipped from this process."""
    return Shipped(folder, program.name, version("penstock"), os.environ.get(VARIABLE, ""))


def pack(program: Path, files: Sequence[str], archive: Path) -> None:
    """Pack a program with the modules beside it, and with files that it reads.

    Left out are hidden files, caches, environments and what is huge; a profile's `files` are taken
    whatever they are.

    Args:
        program: The program's file.
        files: Further files, relative to the program's folder.
        archive: The zip to write.

    Raises:
        ProfileError: One of the files is not there.
        Refused: It comes to more than should be shipped with every run.
    """
    own = program.absolute()
    wanted = {own.name: own, **_modules(own.parent)}
    for name in files:
        wanted[name if Path(name).is_relative_to(".") else Path(name).name] = own.parent / name
    lacking = [path for path in wanted.values() if not path.is_file()]
    if lacking:
        raise ProfileError(
            f"{lacking[0]} is to be shipped to the executors, but there is no such file"
        )
    size = sum(path.stat().st_size for path in wanted.values())
    if size > _MOST:
        raise Refused(
            f"{len(wanted)} files beside {own}, {size >> 20} MB, are too much to ship; "
            "give the program a folder of its own"
        )
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as opened:
        for name, path in wanted.items():
            opened.write(path, name)


def _modules(folder: Path) -> dict[str, Path]:
    """What the program can import from its folder, and the data in its packages."""
    found = {path.name: path for path in folder.glob("*.py") if path.is_file()}
    for package in filter(_is_package, folder.iterdir()):
        found |= {path.relative_to(folder).as_posix(): path for path in _below(package)}
    return found


def _is_package(folder: Path) -> bool:
    if not folder.is_dir() or _left_out(folder):
        return False
    imported = getattr(sys.modules.get(folder.name), "__path__", ())
    return (folder / "__init__.py").exists() or str(folder) in map(str, imported)


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _left_out(path):
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.is_file() and path.stat().st_size <= _HUGE:
            yield path


def _left_out(path: Path) -> bool:
    name = path.name
    caches = {"__pycache__", "node_modules", "site-packages"}
    return name.startswith(".") or name in caches or (path / "pyvenv.cfg").exists()


@cache
def load(shipped: Shipped) -> Pipeline:
    """Load the program on an executor, once for each of its processes.

    Args:
        shipped: Says which.

    Raises:
        Refused: The executor has another Penstock than the driver, or lacks a module that the
            program imports.
        DeclarationError: The program does not run there for another reason.
    """
    from pyspark import SparkFiles

    here = version("penstock")
    if here != shipped.penstock:
        raise Refused(
            f"the executors' Python ({_python()}) has penstock {here}, but the driver has "
            f"{shipped.penstock}; install the same there, or ship an environment that has it"
        )
    # The executors' processes are this run's alone, and a namespace goes for all they load.
    os.environ[VARIABLE] = shipped.namespace
    try:
        return load_program(Path(SparkFiles.get(shipped.folder)) / shipped.program)
    except DeclarationError as error:
        raise _explained(error) from error


def _explained(error: DeclarationError) -> DeclarationError | Refused:
    cause = error.__cause__
    if isinstance(cause, ModuleNotFoundError):
        return Refused(
            f"the executors' Python ({_python()}) lacks the module {cause.name!r}, which the "
            f"program imports; install it there, or ship an environment that has it "
            f"(archives and python under [profiles.NAME.spark])"
        )
    return error


def _python() -> str:
    return f"{sys.executable}, {platform.python_version()}, on {platform.node()}"
