"""A first Ctrl-C or SIGTERM asks for a clean stop, a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _tell() -> None:
    sys.stderr.write("penstock: finishing the micro-batch; once more to stop at once\n")
    sys.stderr.flush()


@contextmanager
def graceful(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first signal; leave by the second, which is safe, too.

    Args:
        stop: Asks the engine to finish its micro-batch and end. It must not block and is called
            on the main thread, between two instructions of whatever runs there.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        stop()
        # Not from here: the interrupted code may be writing to stderr itself.
        threading.Thread(target=_tell).start()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupting() -> Iterator[None]:
    """Let a first Ctrl-C or SIGTERM unwind the block, so that it cleans up; more do not hurry it.

    Raises:
        Exit: At the end of the block, with the code of the signal.
    """
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if caught:
            threading.Thread(target=sys.stderr.write, args=("penstock: cleaning up\n",)).start()
            return
        caught.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(128 + caught[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
