"""Whether the files of a program have changed, and the change is whole."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

GONE = 10
"""So many looks a file may be missing: editors save by renaming another one in its place."""

_PARTS = frozenset({"site-packages", ".venv", ".penstock"})

State = Mapping[Path, tuple[int, int, int] | None]
"""For each file its time of change, size and inode; None while it is missing."""


class Watch:
    """Looks at a program and the modules beside it that it has imported. For one thread.

    A change counts when two looks see the same, so that a file half written is not read.

    Make it before the program is loaded, and call `loaded` after that.

    Args:
        program: The program's file.
    """

    def __init__(self, program: Path) -> None:
        self.program = program.absolute()
        """Its file."""
        self._began = time.time_ns()
        self._taken = self._seen = _state({self.program})
        self._missing = 0

    def changed(self) -> bool:
        """Look; whether there is another program than at the last time that this was true.

        A program that is missing is no change; a module that is missing is one after `GONE` looks.
        """
        before, self._seen = self._seen, _state(self._taken)
        gone = any(found is None for found in self._seen.values())
        self._missing = self._missing + 1 if gone else 0
        still = self._seen == before and self._seen[self.program] is not None
        if not still or self._seen == self._taken or (gone and self._missing < GONE):
            return False
        self._began = time.time_ns()
        self._taken = self._seen
        return True

    @property
    def lost(self) -> bool:
        """Whether the program has been missing for longer than an editor needs to save it."""
        return self._seen[self.program] is None and self._missing >= GONE

    def loaded(self, *, whole: bool) -> None:
        """Watch what the program consists of now.

        Args:
            whole: Whether it could be loaded. If not, any Python file beside it may mend it.
        """
        files = self._loaded()
        if not whole:
            files |= {file for folder in {f.parent for f in files} for file in _python(folder)}
        fresh = _state(files - self._taken.keys())
        # One that was changed since the load began may have been read before that: look again.
        sure = {file: f if f and f[0] < self._began else None for file, f in fresh.items()}
        kept = {file: found for file, found in self._taken.items() if not whole or file in files}
        self._taken = self._seen = {**kept, **sure}

    def _loaded(self) -> set[Path]:
        return {self.program, *(file for _, file in neighbours(self.program))}


def neighbours(program: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules that were imported from below the program's folder, with their files."""
    folder = program.absolute().parent
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == "__main__" or not file.endswith(".py"):
            continue
        path = Path(file)
        inside = path.is_relative_to(folder)
        if inside and not _PARTS & set(path.parts) and not _ours(name):
            yield name, path


@contextmanager
def anew(program: Path) -> Iterator[None]:
    """Import the program's neighbours anew in the block; if it fails, the old ones stay.

    Args:
        program: The program's file.
    """
    held: dict[str, ModuleType] = dict(sys.modules)
    for name, _ in list(neighbours(program)):
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        for name in sys.modules.keys() - held.keys():
            del sys.modules[name]
        sys.modules.update(held)
        raise


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "penstock"


def _python(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.glob("*.py")
    except OSError:  # the folder is gone for a moment
        return


def _state(files: Mapping[Path, object] | set[Path]) -> State:
    return {file: _found(file) for file in files}


def _found(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
