"""Faults at named points, and guarantees switched off, for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock import faults


@contextmanager
def at(
    point: str,
    action: Callable[[], None] | None = None,
    *,
    raise_: BaseException | type[BaseException] | None = None,
    nth: int = 1,
) -> Iterator[None]:
    """Do something once, when a named point is passed.

    Args:
        point: One of `penstock.faults.POINTS`.
        action: What to call there.
        raise_: What to raise there, after the action.
        nth: At which pass of the point.

    Example:
        with testing.at("committed", raise_=RuntimeError):
            engine.run()
    """
    passes = 0

    def passed() -> None:
        nonlocal passes
        passes += 1
        if passes != nth:
            return
        if action is not None:
            action()
        if raise_ is not None:
            raise raise_

    faults.arm(point, passed)
    try:
        yield
    finally:
        faults.disarm(point)


@contextmanager
def without(switch: str) -> Iterator[None]:
    """Switch a guarantee off, to see that something then breaks.

    Args:
        switch: One of `penstock.faults.SWITCHES`.
    """
    faults.disable(switch)
    try:
        yield
    finally:
        faults.enable(switch)
