"""What a check finds about one system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from penstock.cli import cures
from penstock.errors import PenstockError, Unavailable

State = Literal["good", "change", "refused", "away"]


@dataclass(frozen=True)
class Finding:
    """What was found about one system.

    Args:
        system: The program, home, a source, or a lane.
        state: `good`; `change`: a start would create or change something; `refused`: a start
            would be refused; `away`: the system cannot be reached.
        message: One sentence or more.
    """

    system: str
    state: State
    message: str

    @property
    def good(self) -> bool:
        """Whether this is no reason not to start."""
        return self.state in ("good", "change")

    @property
    def cure(self) -> str:
        """What usually helps; empty when nothing has to be done, or nothing is known."""
        return "" if self.state == "good" else cures.cure(self.message)


def looked_at(system: str, good: str, look: Callable[[], Iterable[str]]) -> Iterator[Finding]:
    """Find what a look yields as changes, or why it fails.

    Args:
        system: What is looked at.
        good: What to say when there is nothing to change.
        look: Raises when a start would be refused, or the system is away.
    """
    try:
        changes = list(look())
    except PenstockError as error:
        yield refusal(system, error)
        return
    if not changes:
        yield Finding(system, "good", good)
    yield from (Finding(system, "change", words) for words in changes)


def refusal(system: str, error: PenstockError) -> Finding:
    """Find that a system refuses, or is away."""
    state: State = "away" if isinstance(error, Unavailable) else "refused"
    return Finding(system, state, str(error))
