"""Which dead letters a command is about, as written: `17`, `cause=3`, `lane=women@warehouse`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from penstock.home.database import Cursor
    from penstock.home.deadletters import Selection
    from penstock.records import Position

WHAT = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WHAT]...",
        help="Which letters: a letter's number (17), cause=3, lane=women@warehouse, "
        "segment=users_created, position=PARTITION:OFFSET or PARTITION:OFFSET:INDEX. "
        "Each one narrows the choice; several numbers are several letters.",
    ),
]

DEAD = ("dead",)
STATES = ("pending", "dead", "replaying", "replayed", "failed again", "discarded")

_PAGE = 10_000


@dataclass(frozen=True)
class Where:
    """A choice of letters, as it was written on the command line."""

    segment: str | None = None
    lane: str | None = None
    cause: int | None = None
    position: tuple[int, ...] | None = None
    letters: list[int] = field(default_factory=list)

    @property
    def everything(self) -> bool:
        """Whether nothing narrows the choice."""
        return self == Where()

    def selection(self, cursor: Cursor, pipeline: str) -> Selection:
        """Make of it what home understands; a position is looked up."""
        from penstock.home.deadletters import Selection

        chosen = Selection(pipeline, self.segment, self.lane, self.cause, self.letters or None)
        if self.position is None:
            return chosen
        return replace(chosen, letters=self._at_position(cursor, chosen))

    def _at_position(self, cursor: Cursor, chosen: Selection) -> list[int]:
        from penstock.home import deadletters

        found: list[int] = []
        after = 0
        while page := deadletters.find(cursor, chosen, states=STATES, most=_PAGE, after=after):
            found += [line.id for line in page if self._is_at(line.position)]
            after = page[-1].id
        return found

    def _is_at(self, position: Position) -> bool:
        whole = (position.partition, position.offset, position.index)
        return self.position is not None and whole[: len(self.position)] == self.position


def parse(what: Sequence[str] | None) -> Where:
    """Read what was written; raises a usage error when it is no choice of letters."""
    where = Where()
    for word in what or ():
        key, equals, value = word.partition("=")
        if not equals:
            where.letters.append(_number("a letter", word))
        elif key == "lane":
            where = replace(where, lane=value)
        elif key == "segment":
            where = replace(where, segment=value)
        elif key == "cause":
            where = replace(where, cause=_number("a cause", value))
        elif key == "position":
            where = replace(where, position=_position(value))
        else:
            raise typer.BadParameter(
                f"{word!r} chooses no letters; write a number, cause=, lane=, segment= or position="
            )
    return where


def _number(what: str, word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise typer.BadParameter(f"{word!r} is not the number of {what}")
    return int(word)


def _position(word: str) -> tuple[int, ...]:
    parts = word.split(":")
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) not in (2, 3):
        raise typer.BadParameter(f"{word!r} is no position; write PARTITION:OFFSET, such as 0:1042")
    return numbers
