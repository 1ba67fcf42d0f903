"""Brings what a source gives into its landing: polls, lands, rests, and waits out failures.

This is the one place that repeats what failed; sources only say `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import SystemRandom
from typing import Protocol

from penstock import faults
from penstock.engines.ingesting.pull import Pull
from penstock.engines.status import Board, State
from penstock.errors import Unavailable
from penstock.interfaces import Attentive, Clock, Cursor, Response, Source

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_PATIENCE = 0.1

Jitter = Callable[[float], float]
"""Chooses a delay between zero and the one given."""


class Landing(Protocol):
    """What ingestion needs of a landing; it re-connects by itself after an `Unavailable`."""

    name: str

    def cursor(self, run_id: str | None = None) -> Cursor:
        """Where the source goes on, as committed."""

    def append(
        self, responses: Sequence[Response], run_id: str | None = None, *, finished: bool = False
    ) -> None:
        """Commit responses, the last one's cursor and the run's end in one transaction.

        Without responses, only the run's end.

        Raises:
            Fenced: Somebody else has landed since this object read the cursor.
            Unavailable: The outcome is unknown; `cursor` tells.
        """

    def finished(self, run_id: str) -> bool:
        """Whether a run of that id was landed to its end."""


class Ingest:
    """The loop of one source. The caller holds the lease and owns the thread.

    `faults.Stopped` leaves every method, raised by the clock, when the engine is stopping.

    Args:
        source: What is polled.
        landing: Where its responses go.
        clock: Its `wait` raises `faults.Stopped` when the engine is stopping.
        board: Told what the source is doing, under the landing's name.
        jitter: Chooses a delay between zero and the one given; tests pass their own.
    """

    def __init__(
        self,
        source: Source,
        landing: Landing,
        clock: Clock,
        board: Board,
        jitter: Jitter = lambda longest: SystemRandom().uniform(0, longest),
    ) -> None:
        self._source = source
        self._attentive = source if isinstance(source, Attentive) else None
        self._landing = landing
        self._clock = clock
        self._board = board
        self._jitter = jitter
        self._failures = 0

    def run(self, *, until_idle: bool = False) -> None:
        """Poll again and again, until the source has nothing more to give.

        Args:
            until_idle: End after one poll that was finished.

        Raises:
            Refused: The source or the landing says a final no.
            Fenced: A successor lands now.
        """
        while True:
            self._poll_until_done(None)
            if until_idle or self._source.every is None:
                break
            self._board.source(self._landing.name, State.RUNNING, "")
            self._clock.wait(self._source.every)
        self._board.source(self._landing.name, State.FINISHED, "")

    def once(self, run_id: str | None = None) -> bool:
        """Finish one poll, for a scheduler; raises as `run` does.

        Args:
            run_id: Names this run. A run that was finished is not done again, one that was not
                goes on at its cursor.

        Returns:
            False when there was nothing to do: a run of that id was finished before.
        """
        done_before = run_id is not None and self._landing.finished(run_id)
        if not done_before:
            self._poll_until_done(run_id)
        self._board.source(self._landing.name, State.FINISHED, "")
        return not done_before

    def leave(self) -> None:
        """Let go of the source's system; after the last `run` or `once`."""
        if self._attentive is not None:
            self._attentive.leave()

    def _poll_until_done(self, run_id: str | None) -> None:
        while True:
            try:
                self._poll(run_id)
            except Unavailable as error:
                self._back_off(error)
            else:
                return

    def _poll(self, run_id: str | None) -> None:
        """One poll from the committed cursor to its end, or to the source's error."""
        pull = Pull(self._source, self._landing.cursor(run_id), self._clock)
        try:
            if run_id is None:
                for responses in self._taken(pull):
                    self._land(responses)
            else:
                self._land_run(pull, run_id)
            if pull.error is not None:
                raise pull.error
        except Unavailable:
            pull.leave()
            while not pull.gone(_PATIENCE):
                self._clock.wait(0)
            raise
        finally:
            pull.leave()

    def _land_run(self, pull: Pull, run_id: str) -> None:
        """Hold the latest responses back, so that the last ones and the run's end are one."""
        held: list[Response] = []
        for responses in self._taken(pull):
            if held:
                self._land(held, run_id)
            held = responses
        if held or pull.error is None:
            self._land(held, run_id, finished=pull.error is None)

    def _taken(self, pull: Pull) -> Iterator[list[Response]]:
        """What is ready, each time; looks for a stop while nothing is."""
        while (responses := pull.take(_PATIENCE)) is not None:
            self._clock.wait(0)
            if responses:
                yield responses

    def _land(
        self, responses: list[Response], run_id: str | None = None, *, finished: bool = False
    ) -> None:
        self._landing.append(responses, run_id, finished=finished)
        faults.point("landed")
        if self._attentive is not None and responses:
            self._attentive.landed(responses[-1].cursor)
        for response in responses:
            self._board.landed(self._landing.name, len(response.body))
        if not all(response.cut_off for response in responses):
            self._failures = 0
            self._board.source(self._landing.name, State.RUNNING, "")

    def _back_off(self, error: Unavailable) -> None:
        """Wait longer after each failure in a row, and at least as long as was asked for."""
        longest = min(_FIRST_DELAY * 2**self._failures, _LONGEST_DELAY)
        self._failures = min(self._failures + 1, 16)
        self._board.source(self._landing.name, State.WAITING, str(error))
        self._clock.wait(max(self._jitter(longest), error.retry_after or 0.0))
