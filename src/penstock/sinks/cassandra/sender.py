"""Sends batches: many on their way at once, and those that fail again, for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from queue import Empty, SimpleQueue

from penstock import faults
from penstock.errors import PenstockError, Rejected, Unavailable
from penstock.sinks.cassandra.batches import Batch
from penstock.sinks.cassandra.failures import DRIVER_ERRORS, translate
from penstock.sinks.cassandra.session import TIMEOUT, Session

IN_FLIGHT = 48
"""Batches on their way at most. A cluster that is slow or overloaded gets fewer."""

FIRST = 12
"""Batches on their way before it is known how fast the cluster is."""

SLOW = 0.5
"""Seconds after which an answer is slow: the next step would be the server's own time-out, and
others may be writing, too."""

PATIENCE = 5.0
"""Seconds without any success after which the cluster counts as away."""

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 1.0


class Sender:
    """Sends batches until all are taken.

    A batch that comes back overloaded or timed out is sent again, with fewer on their way; the
    rows carry their time stamps, so twice is once. One that the server refuses is cut in two
    until the guilty row is alone.

    Args:
        session: Where to.
        wait: Sleeps that many seconds.
        now: Tells the time in seconds.
    """

    def __init__(
        self,
        session: Session,
        wait: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._wait = wait
        self._now = now
        self._window = float(FIRST)
        self._begin()

    def send(
        self, batches: Iterable[Batch], guilty: Callable[[int, Rejected], None] | None = None
    ) -> None:
        """Send all batches and wait for their answers.

        Args:
            batches: Taken one by one, as there is room for them.
            guilty: Told each row that the server refuses; without it the first one is raised.

        Raises:
            Rejected: The server refuses a row.
            Unavailable: Nothing went through for `PATIENCE` seconds.
        """
        self._begin()
        for batch in batches:
            self._launch(batch)
            faults.point("copying")
            while self._flying >= int(self._window):
                self._land(guilty)
        while self._flying:
            self._land(guilty)

    def _begin(self) -> None:
        self._answers: SimpleQueue[tuple[Batch, Exception | None, float]] = SimpleQueue()
        self._flying = 0
        self._failures = 0
        self._succeeded = self._now()

    def _launch(self, batch: Batch) -> None:
        answers, sent = self._answers, self._now()
        self._flying += 1
        try:
            future = self._session.start(batch.statement, batch.host)
        except DRIVER_ERRORS as error:
            answers.put((batch, error, sent))
            return
        future.add_callbacks(
            lambda _: answers.put((batch, None, sent)),
            lambda error: answers.put((batch, error, sent)),
        )

    def _land(self, guilty: Callable[[int, Rejected], None] | None) -> None:
        try:
            batch, error, sent = self._answers.get(timeout=2 * TIMEOUT)
        except Empty:
            raise Unavailable(f"{self._session.place} does not answer") from None
        self._flying -= 1
        if error is None:
            self._succeeded = self._now()
            self._failures = 0
            more = 0.25 if self._succeeded - sent < SLOW else -0.5
            self._window = min(IN_FLIGHT, max(1.0, self._window + more))
            return
        meaning = translate(error, self._session.place)
        if isinstance(meaning, Rejected):
            self._take_apart(batch, meaning, guilty)
        elif isinstance(meaning, Unavailable):
            self._again(batch, meaning, error)
        else:
            raise meaning from error

    def _again(self, batch: Batch, meaning: PenstockError, error: Exception) -> None:
        if self._now() - self._succeeded > PATIENCE:
            raise meaning from error
        self._window = max(1.0, self._window / 2)
        self._wait(random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**self._failures)))  # noqa: S311
        self._failures += 1
        self._launch(replace(batch, host=None))

    def _take_apart(
        self, batch: Batch, meaning: Rejected, guilty: Callable[[int, Rejected], None] | None
    ) -> None:
        if len(batch) > 1:
            for half in batch.halves():
                self._launch(half)
        elif guilty is None:
            raise meaning
        else:
            guilty(batch.numbers[batch.start], meaning)
