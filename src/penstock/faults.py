"""Named points where tests stop, kill or fail the program, and guarantees that tests switch off.

A point costs one look into an empty dict. Nothing here is active unless `arm`, `disable` or the
variables `PENSTOCK_FAULT` and `PENSTOCK_DISABLE` (read by the command, for crash tests) say so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

POINTS = (
    "landed",  # a response and its cursor are committed
    "batch-opened",  # home has recorded the open batch
    "staging",  # before a sink's stage
    "copying",  # in the middle of a sink's COPY
    "staged",  # all sinks have staged, none has committed
    "committing",  # a sink is about to commit
    "between-sinks",  # one sink has committed, the next has not
    "committed",  # every sink has committed, the ledger has not
    "closed",  # the ledger has closed the batch
)
"""Every named point, in the order in which a micro-batch passes them."""

FILE_POINTS = (
    "listed",  # the manifest that lists staged files is there, none of them is shown
    "showing",  # between two files that are shown
)
"""Points that only a sink of files passes."""

SWITCHES = ("trimming", "fencing", "open-batch", "staged-count")
"""Guarantees that a test may switch off, to prove that the crash test then fails."""

_armed: dict[str, Callable[[], None]] = {}
_disabled: set[str] = set()


class Stopped(BaseException):
    """The engine is stopping: unwinds a waiting thread. Not an error, so not an Exception."""


def point(name: str) -> None:
    """Pass a named point; does nothing unless a test armed it.

    Args:
        name: One of `POINTS`.
    """
    action = _armed.get(name)
    if action is not None:
        action()


def arm(name: str, action: Callable[[], None]) -> None:
    """Run `action` each time the point is passed, until `disarm`.

    Args:
        name: One of `POINTS` or `FILE_POINTS`.
        action: Called on the passing thread; may raise, or kill the process.

    Raises:
        ValueError: There is no such point.
    """
    known = (*POINTS, *FILE_POINTS)
    if name not in known:
        raise ValueError(f"there is no point {name!r}; there are {', '.join(known)}")
    _armed[name] = action


def disarm(name: str | None = None) -> None:
    """Take the action of a point away; without a name all, and switch every guarantee on again."""
    if name is not None:
        _armed.pop(name, None)
        return
    _armed.clear()
    _disabled.clear()


def disable(switch: str) -> None:
    """Switch a guarantee off, for a test that must then fail.

    Args:
        switch: One of `SWITCHES`.

    Raises:
        ValueError: There is no such switch.
    """
    if switch not in SWITCHES:
        raise ValueError(f"there is no switch {switch!r}; there are {', '.join(SWITCHES)}")
    _disabled.add(switch)


def enable(switch: str) -> None:
    """Switch a guarantee on again."""
    _disabled.discard(switch)


def enabled(switch: str) -> bool:
    """Whether a guarantee is on (always, outside of tests)."""
    return switch not in _disabled


def arm_from_environment() -> None:
    """Arm what `PENSTOCK_FAULT=point:signal:nth` and `PENSTOCK_DISABLE=switch,…` ask for.

    Only the command calls this, at its start. The signal (KILL or STOP) is sent to this process
    when the point is passed for the nth time.
    """
    for switch in filter(None, os.environ.get("PENSTOCK_DISABLE", "").split(",")):
        disable(switch)
    asked = os.environ.get("PENSTOCK_FAULT")
    if asked:
        name, sig, nth = asked.split(":")
        arm(name, _signal_at(int(nth), signal.Signals[f"SIG{sig}"]))


def _signal_at(nth: int, sig: signal.Signals) -> Callable[[], None]:
    passed = 0

    def action() -> None:
        nonlocal passed
        passed += 1
        if passed == nth:
            os.kill(os.getpid(), sig)

    return action
