"""What every sink does at a commit: nothing is written but what its receipts count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from penstock import faults
from penstock.errors import Refused
from penstock.plan import REPLAY
from penstock.records import Counts, Receipt, Step


def total(receipts: Sequence[Receipt]) -> Counter[int]:
    """Add up how many rows of each partition receipts count."""
    return sum((Counter(receipt.rows) for receipt in receipts), Counter())


def check(
    lane: str, receipts: Sequence[Receipt], staged: Mapping[int, int], steps: Mapping[int, Step]
) -> None:
    """Make sure that exactly what the receipts count is staged, and that its progress moves.

    Args:
        lane: For the message.
        receipts: What is to be committed.
        staged: How many rows of each partition are staged.
        steps: The partitions whose progress moves.

    Raises:
        Refused: It is not so.
    """
    expected = total(receipts)
    if faults.enabled("staged-count") and expected != Counter(staged):
        raise Refused(
            f"lane {lane!r} has {dict(staged)} rows staged, but its receipts count "
            f"{dict(expected)}; nothing was written. Start again"
        )
    if REPLAY in steps and any(receipt.token for receipt in receipts):
        raise Refused(f"a replay of lane {lane!r} was staged apart, where nobody can count it")
    strange = {partition for partition, rows in staged.items() if rows} - steps.keys()
    if strange and REPLAY not in steps:
        raise Refused(f"rows of partitions {sorted(strange)} are staged, but do not move")


def added(parts: Iterable[Mapping[int, Counts]]) -> dict[int, Counts]:
    """Add counts up, partition by partition."""
    sums: dict[int, Counts] = {}
    for counts in parts:
        for partition, more in counts.items():
            sums[partition] = sums.get(partition, Counts()) + more
    return sums


def counted(steps: Mapping[int, Step], counts: Mapping[int, Counts]) -> dict[int, Step]:
    """Add what only the store can count to each partition's totals.

    Rows of a replay come from any partition and are counted under `REPLAY`.
    """
    if REPLAY in steps:
        counts = {REPLAY: sum(counts.values(), Counts())}
    return {
        partition: replace(
            step,
            after=replace(step.after, totals=step.after.totals + counts.get(partition, Counts())),
        )
        for partition, step in steps.items()
    }
