"""A server process that outlives the command that starts it: start it, find it again, stop it.

The server inherits a locked file, its pid file. As long as it lives the kernel keeps the lock, so
a locked file names a live server and an unlocked one is a leftover, whatever process has the
number now. The number is written by the shell that then becomes the server: at no moment, however
the command is killed, does a server run that the next command would not find.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from penstock.errors import Refused
from penstock.services.exclusive import open_locked
from penstock.services.log_file import log_start

_WRITING = 5.0
"""Seconds that the shell may need from its start to its writing of the number."""

_BLANK = b" " * 16


@dataclass(frozen=True)
class Launch:
    """How to run a server in the foreground.

    Args:
        command: A program and its arguments.
        environment: Variables beside those of this process.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Daemon:
    """One server's process. Callers that start or stop it hold the lock of its folder.

    Args:
        home: The server's folder, in which it runs, for `server.pid` and `server.log`.
        log: Another log file than that.
    """

    def __init__(self, home: Path, log: Path | None = None) -> None:
        self._home = home
        self._pidfile = home / "server.pid"
        self.log = log or home / "server.log"

    def start(self, launch: Launch) -> int:
        """Start it in a session of its own, away from any terminal; it must not run yet.

        Returns:
            Where in the log its lines begin.
        """
        begin = log_start(self.log)
        held = open_locked(self._pidfile)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            os.truncate(held, 0)
            os.write(held, _BLANK)  # room for the number, so that a full disk is seen here
            # Nobody's child, as the outer shell ends at once: it leaves no zombie behind.
            become = ["/bin/sh", "-c", 'echo $$ 1<>"$0" && exec "$@"', str(self._pidfile)]
            with self.log.open("ab") as log:
                subprocess.run(  # noqa: S603
                    ["/bin/sh", "-c", '"$@" &', "sh", *become, *launch.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._home,
                    env={**os.environ, **launch.environment},
                    pass_fds=[held],
                    start_new_session=True,
                    check=True,
                )
        finally:
            os.close(held)
        return begin

    def lives(self) -> bool:
        """Whether it runs, answering or not."""
        if not self._pidfile.exists():
            return False
        probe = os.open(self._pidfile, os.O_RDONLY)
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(probe)

    def died(self) -> bool:
        """Whether it was started and is gone, though nobody stopped it by `stop`."""
        return self._pidfile.exists() and not self.lives()

    def process(self) -> psutil.Process | None:
        """Find its process; None if it does not run, or where we do not see it."""
        _await(lambda: self._number() is not None or not self.lives(), _WRITING)
        number = self._number()
        try:
            found = psutil.Process(number) if number else None
        except psutil.NoSuchProcess:
            return None
        # Asked last: a number that is still its own then cannot have been reused before.
        return found if self.lives() else None

    def stop(self, patience: float) -> None:
        """Stop it by SIGTERM, after `patience` seconds by SIGKILL; nothing if it does not run.

        Raises:
            Refused: It runs where this command does not see it.
        """
        found = self.process()
        if found is not None:
            found.terminate()
            if not _await(lambda: not self.lives(), patience):
                found.kill()
                _await(lambda: not self.lives(), patience)
        if self.lives():
            raise Refused(
                f"the server of {self._home} runs, but not as a process that can be "
                "stopped from here (in another container?); stop it there"
            )
        self._pidfile.unlink(missing_ok=True)

    def _number(self) -> int | None:
        try:
            return int(self._pidfile.read_text())
        except (FileNotFoundError, ValueError):
            return None


def _await(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
