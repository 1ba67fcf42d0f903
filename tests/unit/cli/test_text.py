import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli import text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (3.4, "3.4 s"),
        (90, "90 s"),
        (300, "5.0 min"),
        (10_000, "2.8 h"),
    ],
)
def test_seconds(value: float | None, said: str) -> None:
    assert text.seconds(value) == said


def test_rate_has_a_decimal_only_when_slow() -> None:
    assert [text.rate(r) for r in (0, 0.25, 12.6, 12_345.6)] == ["0", "0.2", "13", "12,346"]


def test_escaped_keeps_readable_text() -> None:
    assert text.escaped('{"name": "Jürgen"}'.encode()) == '{"name": "Jürgen"}'


def test_escaped_shows_what_a_terminal_would_obey() -> None:
    assert text.escaped(b"\x1b[2J\x00\xff\n\\") == r"\x1b[2J\x00\xff\n" + "\\\\"
    assert text.escaped("\u202etxt".encode()) == r"\u202etxt"


def test_escaped_counts_what_it_leaves_out() -> None:
    assert text.escaped(b"abcdef", limit=4) == "abcd… (2 bytes more)"


@given(st.binary())
def test_escaped_is_one_printable_line_for_any_bytes(value: bytes) -> None:
    shown = text.escaped(value)
    assert shown.isprintable()
    assert bool(shown) == bool(value)


@given(st.binary(), st.binary())
def test_escaped_tells_different_bytes_apart(one: bytes, other: bytes) -> None:
    assert (text.escaped(one) == text.escaped(other)) == (one == other)


def test_a_line_keeps_backslashes_and_shows_the_rest() -> None:
    assert text.line("a\\b\n\x1b[31m\ud800") == r"a\b\n\x1b[31m\ud800"


def test_lanes_of_one_name_are_told_apart() -> None:
    names = text.names([("raw_web", "users@log"), ("raw_app", "users@log"), ("users", "t@one")])
    assert list(names.values()) == ["users@log from raw_web", "users@log from raw_app", "t@one"]
