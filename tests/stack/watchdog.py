"""Ends what a killed test session leaves behind. Started as a process; see `tests.stack.servers`.

Its standard input is a pipe that the test session holds open. When it closes, however that came
about, every process that works in the folder or below it is killed.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """See to it that no process that works below `folder` outlives the block or this process."""
    dog = subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )
    assert dog.stdin
    try:
        yield
    finally:
        dog.stdin.close()
        dog.wait(60)


def servers_of(folder: Path) -> list[psutil.Process]:
    """The processes whose working directory is the folder or lies below it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.read()
    while left := servers_of(folder):  # a supervisor may start one more while we look
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=5)


if __name__ == "__main__":
    main()
