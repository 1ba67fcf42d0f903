"""The manifests of a table, numbered without gaps: creating the next one is the commit.

A manifest is created exclusively, so of several writers who saw the same last one a single one
goes on; the others read what it said and try again, or learn that they are fenced. Now and then
the state is written down as a checkpoint, and what came before is removed. So a writer who was
asleep could create a number that was removed: after each creation it is made sure that nothing
later was there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import TypeVar

from penstock.errors import Refused, Unavailable
from penstock.filesystems import FileSystem
from penstock.sinks.files import manifest
from penstock.sinks.files.manifest import Manifest, State

T = TypeVar("T")

EVERY = 50
"""Manifests from one checkpoint to the next."""

KEPT = 50
"""Manifests before the last checkpoint that are kept for people to look at."""

_ATTEMPTS = 100
_MANIFEST, _CHECKPOINT = ".json", ".checkpoint.json"


class Journal:
    """The manifests of one table.

    Args:
        files: The store.
        folder: Where the manifests are, below the store's root.
    """

    def __init__(self, files: FileSystem, folder: str) -> None:
        self.state = State()
        self._files = files
        self._folder = folder
        self._checkpoint = 0

    def load(self) -> State:
        """Read where the table stands.

        Raises:
            Refused: A manifest is missing or damaged.
            Unavailable: The store is away.
        """
        for _ in range(5):  # what is read may be removed meanwhile, when others go on
            state = self._loaded()
            if state is not None:
                self.state = state
                return state
        raise Refused(
            f"manifests are missing in {self._files.url}/{self._folder}: somebody removed them; "
            "restore them"
        )

    def append(self, build: Callable[[State], Manifest]) -> State:
        """Go one step on.

        Args:
            build: Makes the step from the state that it goes on from; called again when somebody
                else was faster. Raises when there is no step to make.

        Returns:
            The state after the step; later steps of others may be in it, too.

        Raises:
            Unavailable: It is not known whether the step was made; `load` tells.
        """
        for _ in range(_ATTEMPTS):
            base = self.state
            step = replace(build(base), id=token_hex(16), parent=base.id)
            if self._created(base.number + 1, step) and self._reached(base, step):
                with suppress(Unavailable):  # the step is made; another time
                    self._tidy()
                return self.state
        raise Unavailable(f"{self._files.url}/{self._folder}: too many write at once")

    # --- inside ---

    def _created(self, number: int, step: Manifest) -> bool:
        name = self._name(number)
        try:
            self._files.create(name, manifest.write(step))
        except FileExistsError:
            found = self._read(number)
            if found is None or found.id != step.id:  # it may be ours: an answer was lost
                self.load()
                return False
        return True

    def _reached(self, base: State, step: Manifest) -> bool:
        """Whether the step is one of the table's; not if its number was used and removed before."""
        number = base.number + 1
        manifests, checkpoints = self._numbers()
        if max([*manifests, *checkpoints, 0]) <= number and number not in checkpoints:
            self.state = base.after(step)
            return True
        self.load()
        if self.state.ids.get(number) == step.id:
            return True
        self._files.delete([self._name(number)])
        return False

    def _loaded(self) -> State | None:
        manifests, checkpoints = self._numbers()
        state = State()
        if checkpoints:
            try:
                data = self._files.read(self._name(max(checkpoints), _CHECKPOINT))
            except FileNotFoundError:
                return None
            state = self._parsed(max(checkpoints), lambda: manifest.read_state(data))
        last = max([*manifests, state.number])
        for number in range(state.number + 1, last + 1):
            step = self._read(number)
            if step is None or step.parent != state.id:
                return None
            state = state.after(step)
        return state

    def _read(self, number: int) -> Manifest | None:
        try:
            data = self._files.read(self._name(number))
        except FileNotFoundError:
            return None
        return self._parsed(number, lambda: manifest.read(data))

    def _parsed(self, number: int, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except (ValueError, LookupError, TypeError) as error:
            raise Refused(
                f"manifest {number} in {self._files.url}/{self._folder} is damaged: {error}; "
                "restore it"
            ) from error

    def _numbers(self) -> tuple[set[int], set[int]]:
        manifests, checkpoints = set(), set()
        for entry in self._files.list(self._folder):
            name = entry.name.rpartition("/")[2]
            number, _, ending = name.partition(".")
            if number.isdecimal() and f".{ending}" == _CHECKPOINT:
                checkpoints.add(int(number))
            elif number.isdecimal() and f".{ending}" == _MANIFEST:
                manifests.add(int(number))
        self._checkpoint = max(checkpoints, default=0)
        return manifests, checkpoints

    def _tidy(self) -> None:
        """Write a checkpoint when it is time, and remove what is older."""
        number = self.state.number
        if number < self._checkpoint + EVERY:
            return
        self._files.write(self._name(number, _CHECKPOINT), [manifest.write_state(self.state)])
        manifests, checkpoints = self._numbers()
        old = [self._name(n, _CHECKPOINT) for n in checkpoints if n < number]
        old += [self._name(n) for n in manifests if n <= number - KEPT]
        self._files.delete(old)

    def _name(self, number: int, ending: str = _MANIFEST) -> str:
        return f"{self._folder}/{number:020d}{ending}"
