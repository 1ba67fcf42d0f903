"""Runs one after the other in this process: each of a newer version of the program."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from penstock.errors import PenstockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.engines.embedded import Embedded
    from penstock.engines.options import Options
    from penstock.engines.status import Board, Snapshot
    from penstock.pipeline import Pipeline


class Succession:
    """A run that forms anew when its program asks for that, and otherwise one plain run.

    Args:
        make: Makes an engine on the board, for a version of the pipeline.
        pipeline: What the program declares first.
        options: How; their time is that of all runs together.
        board: Where the engines say what they do.
    """

    def __init__(
        self,
        make: Callable[[Pipeline, Options], Embedded],
        pipeline: Pipeline,
        options: Options,
        board: Board,
    ) -> None:
        self._make = make
        self._options = options
        self._board = board
        self._asked = False
        self._pipeline = pipeline
        self._engine = make(pipeline, options)

    def stop(self) -> None:
        """Ask for an end as `Embedded.stop` does."""
        self._asked = True
        self._engine.stop()

    def snapshot(self) -> Snapshot:
        """Say what the present run does."""
        return self._board.snapshot()

    def run(self) -> None:
        """Run until nothing follows; raises as `Embedded.run` does.

        A version that fails at its start is refused, and the one before it goes on.
        """
        before: Pipeline | None = None
        began = time.monotonic()
        limit = self._options.for_seconds
        while True:
            try:
                self._engine.run()
                following, earlier = self._engine.successor, self._pipeline
            except PenstockError as error:
                if before is None or self._engine.begun:
                    raise
                words = f"the new program could not start, the old one goes on: {error}"
                self._board.say("reload-refused", words, "warning")
                following, earlier = before, None
            if following is None or self._asked:
                return
            if limit is not None:
                left = max(0.0, limit - (time.monotonic() - began))
                self._options = replace(self._options, for_seconds=left)
            self._follow(following)
            before = earlier

    def _follow(self, pipeline: Pipeline) -> None:
        self._options = replace(self._options, take_over=False)
        self._board.begin_anew()
        self._pipeline = pipeline
        self._engine = self._make(pipeline, self._options)
        if self._asked:  # a signal that came in between reached the run that had ended
            self._engine.stop()
