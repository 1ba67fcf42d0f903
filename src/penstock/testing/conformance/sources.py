"""What every source must do, as pytest classes to subclass."""
# ruff: noqa: S101 -- checks assert

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

import pytest

from penstock.errors import Unavailable
from penstock.interfaces import Attentive, Cursor, Framing, Response, Source
from penstock.testing.clock import ManualClock


class SourceSystem(ABC):
    """A system that a source reads, with at least three responses to give."""

    @abstractmethod
    def source(self) -> Source:
        """Make a source onto this system, as another process would."""

    @abstractmethod
    def bodies(self) -> Sequence[bytes]:
        """Return the bodies that one poll from the beginning gives, in order."""

    def leave(self) -> None:
        """Make the system unreachable."""
        raise NotImplementedError


class SourceConformance:
    """What every source must do.

    Subclass it in a test module, and give it the system. `RemoteSourceConformance` goes beside it
    when the system can be away.

    Example:
        class TestMySource(SourceConformance):
            @pytest.fixture
            def system(self, tmp_path):
                return MySystem(tmp_path)
    """

    def test_a_poll_gives_every_response_as_it_came(self, system: SourceSystem) -> None:
        assert [r.body for r in _poll(system.source(), None)] == list(system.bodies())

    def test_cursors_are_json(self, system: SourceSystem) -> None:
        for response in _poll(system.source(), None):
            assert json.loads(json.dumps(response.cursor, allow_nan=False)) == response.cursor

    def test_every_cursor_goes_on_after_its_response(self, system: SourceSystem) -> None:
        responses = _poll(system.source(), None)
        # from the last on: going back to an earlier one may undo what came of it in the system
        for number, response in reversed(list(enumerate(responses[:-1], 1))):
            rest = _poll(system.source(), _landed(response))
            assert [r.body for r in rest] == list(system.bodies())[number:]

    def test_what_was_not_landed_comes_again(self, system: SourceSystem) -> None:
        source = system.source()
        with closing(_responses(source, None)) as responses:
            first, _ = next(responses), next(responses)
        rest = _poll(source, _landed(first))
        assert [r.body for r in rest] == list(system.bodies())[1:]

    def test_a_cursor_does_not_change_after_it_was_given(self, system: SourceSystem) -> None:
        source = system.source()
        kept = [(r.cursor, json.dumps(r.cursor)) for r in _responses(source, None)]
        if isinstance(source, Attentive):
            source.leave()
        assert [json.dumps(cursor) for cursor, _ in kept] == [text for _, text in kept]

    def test_a_source_describes_itself_in_one_line(self, system: SourceSystem) -> None:
        described = system.source().describe()
        assert described
        assert "\n" not in described

    def test_a_source_says_how_records_lie_and_when_to_come_again(
        self, system: SourceSystem
    ) -> None:
        source = system.source()
        assert isinstance(source.framing, Framing)
        assert source.every is None or source.every >= 0

    def test_check_is_silent_when_all_is_well(self, system: SourceSystem) -> None:
        source = system.source()
        source.check()
        assert [r.body for r in _poll(source, None)] == list(system.bodies())


class RemoteSourceConformance:
    """What a source must do whose system can be away (`SourceSystem.leave`)."""

    def test_a_system_that_is_away_is_unavailable(self, system: SourceSystem) -> None:
        source = system.source()
        system.leave()
        with pytest.raises(Unavailable):
            _poll(source, None)
        with pytest.raises(Unavailable):
            source.check()


def _responses(source: Source, cursor: Cursor) -> Any:
    """Start a poll; a generator in practice, which the engine closes on a stop."""
    return cast("Any", source.poll(cursor, ManualClock()))


def _poll(source: Source, cursor: Cursor) -> list[Response]:
    """Poll to the end and land everything, as the engine does."""
    taken = []
    for response in _responses(source, cursor):
        taken.append(response)
        if isinstance(source, Attentive):
            source.landed(response.cursor)
    if isinstance(source, Attentive):
        source.leave()
    return taken


def _landed(response: Response) -> Cursor:
    """The cursor as it comes back from the database."""
    return json.loads(json.dumps(response.cursor))
