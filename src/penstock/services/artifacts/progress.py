"""How far a fetch is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_SECONDS_BETWEEN_LINES = 5.0


class Display(Protocol):
    """Shows one fetch at a time. Called from one thread, and often: it must be quick."""

    def begin(self, title: str, total: int) -> None:
        """A fetch of `total` bytes begins."""

    def advance(self, number: int) -> None:
        """So many more bytes are here; below zero when some have to be fetched again."""

    def say(self, line: str) -> None:
        """Something that people should know; also called outside a fetch."""

    def end(self) -> None:
        """The fetch is over, well or not."""


class Bar:
    """A bar on a terminal.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def begin(self, title: str, total: int) -> None:
        self.say(title)
        columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=self._console)
        self._bar.add_task(title, total=total)
        self._bar.start()

    def advance(self, number: int) -> None:
        if self._bar:
            self._bar.advance(self._bar.task_ids[0], number)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()


class Lines:
    """Plain lines, a few seconds apart.

    Args:
        write: Takes each line.
        clock: Gives seconds.
    """

    def __init__(
        self, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._total = self._done = 0
        self._last = 0.0

    def begin(self, title: str, total: int) -> None:
        self._total, self._done, self._last = total, 0, self._clock()
        self._write(title)

    def advance(self, number: int) -> None:
        self._done += number
        if self._clock() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = self._clock()
            self._write(f"fetched {megabytes(self._done)} of {megabytes(self._total)}")

    def say(self, line: str) -> None:
        self._write(line)

    def end(self) -> None:
        if self._done >= self._total:
            self._write(f"fetched all {megabytes(self._total)}")


def on_stderr() -> Display:
    """Show it where it is out of the way of what a command prints."""
    console = Console(stderr=True)
    bar = Bar(console)
    return bar if console.is_terminal else Lines(bar.say)


def megabytes(size: int) -> str:
    """Say a size as people do."""
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:,.0f} MB"
