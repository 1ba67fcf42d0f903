from __future__ import annotations

import io

from rich.console import Console

from penstock.services.artifacts.progress import Bar, Lines, megabytes


def test_lines_come_some_seconds_apart() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(said.append, lambda: now)
    lines.begin("fetching 2 files", 20_000_000)
    for second in range(10):
        now = second
        lines.advance(2_000_000)
    lines.end()
    assert said == ["fetching 2 files", "fetched 12 MB of 20 MB", "fetched all 20 MB"]


def test_a_fetch_that_failed_is_not_called_whole() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    lines.begin("fetching 2 files", 20)
    lines.advance(19)
    lines.end()
    assert said == ["fetching 2 files"]


def test_a_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    bar = Bar(Console(file=screen, force_terminal=True, width=120))
    bar.begin("fetching 2 files", 20_000_000)
    bar.advance(10_000_000)
    bar.say("[damaged] /a/b")
    bar.end()
    assert "10.0/20.0 MB" in screen.getvalue()
    assert "[damaged] /a/b" in screen.getvalue()


def test_sizes_are_said_as_people_do() -> None:
    assert [megabytes(n) for n in (9_824, 1_500_000, 158_577_952)] == ["0.0 MB", "1.5 MB", "159 MB"]
