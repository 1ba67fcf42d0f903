"""One command at a time starts or stops a server: an exclusive lock on a file in its folder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import Refused, Unavailable

_PATIENCE = 150.0


@contextmanager
def exclusive(home: Path, what: str, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold the lock of a server's folder, which is made when it is missing.

    The kernel drops the lock of a holder that is killed. What goes wrong with files inside the
    block is explained.

    Args:
        home: The server's folder.
        what: The server in words, for messages.
        patience: Seconds to wait for another holder.

    Raises:
        Refused: The folder cannot be used by this user.
        Unavailable: Another command holds the lock too long, or the disk is full.
    """
    with explained(home):
        if not home.exists():
            home.mkdir(parents=True, exist_ok=True)
            ignored_by_git(home)
        lock = open_locked(home / "lock")
        try:
            _wait_for(lock, what, patience)
            yield
        finally:
            os.close(lock)


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Say in words what goes wrong with the files of a folder inside the block.

    Args:
        home: The folder.

    Raises:
        Refused: The folder cannot be used by this user.
        Unavailable: The disk is full.
    """
    try:
        yield
    except PermissionError as error:
        raise Refused(
            f"{error.filename or home} cannot be used: {error.strerror}. Run as the user who made "
            f"it ({_owner(home)}), or in a directory of your own"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Unavailable(f"the disk that holds {home} is full; make room") from error
        where = error.filename or home
        raise Refused(f"{where} cannot be used: {error.strerror}; look at it first") from error


def ignored_by_git(root: Path) -> None:
    """Keep what servers write below a `.penstock` folder out of the user's repository."""
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def open_locked(path: Path) -> int:
    """Open a file that serves as a lock; `try_lock` takes it."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(handle: int) -> bool:
    """Take the lock alone, if nobody has it; gone when the handle and its copies are closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(lock: int, what: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not try_lock(lock):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"another command has been starting or stopping {what} for {patience:.0f} s; "
                "look for a stopped penstock process"
            )
        time.sleep(0.02)


def _owner(path: Path) -> str:
    existing = next(p for p in (path, *path.parents) if p.exists())
    try:
        return existing.owner()
    except KeyError:
        return f"user {existing.stat().st_uid}"
