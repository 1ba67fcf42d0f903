"""The last words of a run."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from penstock.cli.summary import Summary, drawn
from penstock.engines.status import LaneStatus, Snapshot, State
from penstock.records import Counts


@pytest.mark.parametrize("state", [State.WAITING, State.STOPPED])
def test_all_is_accounted_for_only_where_all_was_taken(state: State) -> None:
    assert "balanced: every record" in words(State.RUNNING)
    assert "balanced as far as it came" in words(state)


def words(state: State) -> str:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    lane = LaneStatus("people", "people@store", state, "", since, None, Counts(), None, None)
    shown = StringIO()
    summary = Summary("people", 1.0, Snapshot((), (lane,)), {})
    Console(file=shown, width=200).print(drawn(summary))
    return shown.getvalue()
