"""Looks at this machine: room on the disk, and a clock that agrees with home's."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from penstock.cli import options
from penstock.cli.findings import Finding
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.engines.systems import Systems

SKEW = 1.0
"""Seconds that a clock may be wrong before latencies look it."""

LITTLE, NOTHING = 1 << 30, 100 << 20
"""Free bytes below which a disk is nearly full, and below which a start is refused."""


def examine(systems: Systems) -> Iterator[Finding]:
    """Examine this machine as far as a profile rests on it.

    Args:
        systems: The profile's, open.
    """
    if systems.uses_embedded:
        yield from disk(shutil.disk_usage(options.data().resolve().parent).free)
    yield from clock(systems)


def disk(free: int) -> Iterator[Finding]:
    """Judge the free bytes of the disk that holds the embedded PostgreSQL."""
    if free < LITTLE:
        words = f"the disk is nearly full: {free >> 20:,} MiB are free where .penstock is"
        yield Finding("disk", "refused" if free < NOTHING else "change", words)


def clock(systems: Systems) -> Iterator[Finding]:
    """Compare home's clock with this machine's; the embedded server's is the same."""
    start = time.time()
    with suppress(PenstockError):  # that home is away is found elsewhere
        with systems.home("check") as home, home.transaction() as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
            [[told]] = cursor.fetchall()
        if words := skew(told, start, time.time()):
            said = f"its clock is {words} this machine's; latencies will look wrong"
            yield Finding("home", "change", said)


def skew(told: float, start: float, end: float) -> str:
    """Say how far a clock is off that was read between two moments; empty if it may be right."""
    ahead, behind = told - end, start - told
    if max(ahead, behind) <= SKEW:
        return ""
    return f"{ahead:.1f} s ahead of" if ahead > 0 else f"{behind:.1f} s behind"
