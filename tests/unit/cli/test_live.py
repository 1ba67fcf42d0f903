from datetime import UTC, datetime

import pytest
from rich.console import Console

from penstock.cli import live
from penstock.engines.status import LaneStatus, Snapshot, SourceStatus, State
from penstock.records import Counts

SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def lane(records: int = 0, reason: str = "", state: State = State.RUNNING) -> LaneStatus:
    return LaneStatus(
        segment="users_created",
        lane="women@warehouse",
        state=state,
        reason=reason,
        since=SINCE,
        lag=1234,
        counts=Counts(records=records, dead=7),
        p50=0.012,
        p99=None,
    )


def drawn(snapshot: Snapshot, width: int = 140) -> str:
    console = Console(width=width, markup=False)
    with console.capture() as captured:
        console.print(live.picture(snapshot, live.Rates()))
    return captured.get()


def test_a_row_shows_every_figure_of_a_lane() -> None:
    said = drawn(Snapshot((), (lane(records=56_789),)))
    for figure in ("women@warehouse", "56,789", "1,234", "12 ms", "–", "7"):
        assert figure in said


def test_a_waiting_lane_says_for_what_and_since_when() -> None:
    said = drawn(Snapshot((), (lane(state=State.WAITING, reason="store warehouse is away"),)))
    assert f"waiting since {SINCE.astimezone():%H:%M:%S}: store warehouse is away" in said


def test_sources_come_first() -> None:
    source = SourceStatus("raw", "http://x", State.RUNNING, "", SINCE, 3, 4096)
    said = drawn(Snapshot((source,), (lane(),)))
    assert said.index("http://x") < said.index("women@warehouse")
    assert "4,096" in said


def test_names_are_never_markup() -> None:
    source = SourceStatus("[red]raw[/red]", "[bold]", State.RUNNING, "[blink]", SINCE, 0, 0)
    said = drawn(Snapshot((source,), ()))
    assert "[red]raw[/red]" in said
    assert "[bold]" in said
    assert "[blink]" in said


def test_rate_is_over_the_last_seconds() -> None:
    now = 0.0
    rates = live.Rates(window=5.0, now=lambda: now)
    seen = []
    for second in range(20):
        now = float(second)
        seen.append(rates.of(lane(records=100 * min(second, 10))))
    assert seen[0] == 0.0
    assert seen[5] == pytest.approx(100.0)
    assert seen[19] == 0.0


def test_eighty_columns_are_enough() -> None:
    said = drawn(Snapshot((), (lane(records=9_999_999),)), width=80)
    for figure in ("women@warehouse", "9,999,999", "records/s", "1,234", "running"):
        assert figure in said
