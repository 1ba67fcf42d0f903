"""How a run is asked to behave."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def _batch_records() -> int | None:
    return int(os.environ.get("PENSTOCK_BATCH_RECORDS", "0")) or None


def _variant() -> int:
    return int(os.environ.get("PENSTOCK_VARIANT", "0"))


@dataclass(frozen=True)
class Options:
    """What the command line decides about one run.

    Args:
        until_idle: End when the sources have given what they have and every lane is at its log's
            end, replays included.
        for_seconds: End after so long; with `until_idle` by an error, if not all is done by then.
        take_over: Fence whoever holds the partitions and take them.
        sources: Whether to run the program's sources (`run --no-sources` does not).
        segments: Whether to run the program's segments (`ingest` does not).
        run_id: A scheduler's name for this run: its sources poll once, and a finished run id does
            nothing when asked again.
        range: Ask the sources that can be asked so only for records from a bound on, up to another
            one; each range is a run of its own, beside where the sources stand.
        accept_log: Start anew on logs that were re-created or restored, in place of refusing.
        program: The program's file, for the child process that finds out which record kills.
        batch_records: Records in a micro-batch at most; `PENSTOCK_BATCH_RECORDS` sets it. None
            leaves it to the engine.
        variant: Above 0 the program behaves as if its maps had been changed: for crash tests.
        lease_seconds: How long the others wait for this process once it is silent.
    """

    until_idle: bool = False
    for_seconds: float | None = None
    take_over: bool = False
    sources: bool = True
    segments: bool = True
    run_id: str | None = None
    range: tuple[str, str] | None = None
    accept_log: bool = False
    program: Path | None = None
    batch_records: int | None = field(default_factory=_batch_records)
    variant: int = field(default_factory=_variant)
    lease_seconds: float = 10.0
