"""Unpack an archive: safely, whole or not at all, and once."""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from penstock.errors import Refused, Unavailable
from penstock.services.artifacts.fetch import digest

_LIST = ".penstock-files.json"
_PATIENCE = 120.0


def is_unpacked(folder: Path) -> bool:
    """Whether a folder holds, unchanged, what was unpacked into it; files beside that may be."""
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        return bool(listed) and bool(listed == _digests(folder, listed))
    except (OSError, ValueError, TypeError):
        return False


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive; if several processes do at once, one does and the others wait.

    Args:
        archive: The archive, which has been verified.
        folder: Comes into being whole. One that is there already, but damaged, is replaced.

    Raises:
        Refused: The archive holds what does not belong in it, such as a path that leads outside.
        Unavailable: Another process has been unpacking it for minutes.
        OSError: The folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder.with_name(f"{folder.name}.lock")):
        if is_unpacked(folder):
            return
        fresh = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(fresh, ignore_errors=True)  # of one who was killed
        _extract(archive, fresh)
        names = [str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file()]
        (fresh / _LIST).write_text(json.dumps(_digests(fresh, names)), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


def _extract(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise Refused(f"{archive} cannot be unpacked: {error}") from error


def _digests(folder: Path, names: list[str] | dict[str, str]) -> dict[str, str]:
    ordered = sorted(names)
    with ThreadPoolExecutor(4) as pool:
        return dict(
            zip(ordered, pool.map(lambda name: digest(folder / name), ordered), strict=True)
        )


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("a") as opened:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(opened):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"another process has been unpacking for {_PATIENCE:.0f} s what {path} guards; "
                    "look for a stopped penstock"
                )
            time.sleep(0.05)
        yield


def _lock(opened: IO[str]) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
