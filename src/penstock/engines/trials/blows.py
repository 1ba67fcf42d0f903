"""What a crash test does to a pipeline, drawn at random, so that the same seed gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from penstock import faults

POINT, MOMENT, STOPPED, CUT = "point", "moment", "stopped", "cut"
"""The kinds of blows; the name of a server that may be killed is one, too."""

_POINTS = (*faults.POINTS, "staged", "committing", "between-sinks", "committed")
_BATCHES = (20, 200, 2_000)
_VARIANTS = (0, 0, 1, 2)
_AIMS = {
    "trimming": ((POINT,), ("between-sinks", "committed")),
    "fencing": ((STOPPED,), ("staging", "staged", "committing")),
    "open-batch": ((POINT,), ("committing",)),
    "staged-count": ((CUT,), ("staged", "committing")),
}


@dataclass(frozen=True)
class Blow:
    """One thing that is done to a run.

    Args:
        kind: What, or which server is killed.
        point: Where in the program a `point`, `stopped` or `cut` blow falls.
        nth: At which pass of the point.
        delay: Seconds into the run for the other kinds.
        batch: Records in a micro-batch of this run.
        variant: Which change of the program's maps is pretended.
        program: Which version of the program runs.
    """

    kind: str
    point: str
    nth: int
    delay: float
    batch: int
    variant: int
    program: int

    def __str__(self) -> str:
        """Say it in a few words."""
        places = {
            POINT: f"SIGKILL at {self.point!r}, pass {self.nth}",
            MOMENT: f"SIGKILL after {self.delay:.2f} s",
            CUT: f"all connections cut at {self.point!r}, pass {self.nth}",
            STOPPED: f"SIGSTOP at {self.point!r}, pass {self.nth}, and a successor takes over",
        }
        return places.get(self.kind) or f"SIGKILL of {self.kind} after {self.delay:.2f} s"


def schedule(
    seed: int, kills: int, programs: int, servers: Sequence[str], without: str | None = None
) -> list[Blow]:
    """Draw the blows; the same arguments give the same ones.

    Args:
        seed: For the random numbers.
        kills: How many blows.
        programs: How many versions of the program there are.
        servers: Names of the servers that may be killed.
        without: A guarantee that is switched off: the blows are aimed at what it guards.
    """
    random = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    usual = (POINT, POINT, POINT, MOMENT, *servers, STOPPED, CUT)
    kinds, points = _AIMS.get(without or "", (usual, _POINTS))
    return [
        Blow(
            kind=random.choice(kinds),
            point=random.choice(points),
            nth=random.randint(1, 5),
            delay=random.uniform(0.5, 2.5),
            batch=random.choice(_BATCHES),
            variant=random.choice(_VARIANTS),
            program=random.randrange(programs),
        )
        for _ in range(kills)
    ]
