"""Unpack an archive: safely, whole or not at all, and once."""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
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
    # Not tarfile's own filter: the Python 3.11 of some systems lacks it.
    folder.mkdir()
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                _extract_one(opened, member, folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Refused(f"{archive} cannot be unpacked: {error}") from error


def _extract_one(opened: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write a file with the owner and mode that new files have here; nothing else is taken."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir()):
        raise tarfile.TarError(f"{member.name!r} is a link or a device, or leads outside")
    target = folder / path
    content = opened.extractfile(member)
    if content is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as written:
        shutil.copyfileobj(content, written, 1 << 20)


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
